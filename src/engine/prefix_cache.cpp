#include "engine/prefix_cache.h"

#include <algorithm>

#include "core/xxh64.h"

namespace moxie {
namespace {

uint64_t key_of(uint64_t parent, std::span<const int32_t> tokens) {
  Xxh64 hash;
  hash.update(std::as_bytes(std::span(&parent, 1)));
  hash.update(std::as_bytes(tokens));
  return hash.digest();
}

}  // namespace

size_t common_beginning(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t most = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(most), b.begin()).first -
                             a.begin());
}

PrefixCache::PrefixCache(KvPool& pool, int64_t max_blocks, BlockStore* store)
    : pool_(pool), max_blocks_(max_blocks), store_(store) {}

PrefixCache::~PrefixCache() {
  settle();
  for (const Node* node : used_) pool_.release(node->block);
}

PrefixCache::Node* PrefixCache::child(const Node& parent, std::span<const int32_t> tokens) const {
  const auto found = nodes_.find(key_of(parent.key, tokens));
  if (found == nodes_.end()) return nullptr;
  Node* node = found->second.get();
  return node->parent == &parent && std::ranges::equal(node->tokens, tokens) ? node : nullptr;
}

// Null: another block has the same key, which keeps its place.
PrefixCache::Node* PrefixCache::add(Node& parent, std::span<const int32_t> tokens, int32_t block) {
  auto node = std::make_unique<Node>();
  node->parent = &parent;
  node->key = key_of(parent.key, tokens);
  node->tokens.assign(tokens.begin(), tokens.end());
  node->block = block;
  if (store_ != nullptr && static_cast<int64_t>(tokens.size()) == kBlock)
    node->name = BlockStore::name_of(parent.name, tokens);
  Node* raw = node.get();
  if (!nodes_.try_emplace(raw->key, std::move(node)).second) return nullptr;
  parent.children.push_back(raw);
  raw->used = used_.insert(used_.end(), raw);
  pool_.share(block);
  return raw;
}

// Latest first: the first block of a text before the second, so that the last in the list is one that none follows.
void PrefixCache::touch(Node* last) {
  for (Node* node = last; node != &root_; node = node->parent) used_.splice(used_.begin(), used_, node->used);
}

// The node after the last whole block of ids that is cached.
PrefixCache::Node* PrefixCache::walk(std::span<const int32_t> ids, std::vector<int32_t>* blocks) {
  Node* node = &root_;
  while (static_cast<int64_t>(ids.size()) >= kBlock) {
    Node* next = child(*node, ids.first(static_cast<size_t>(kBlock)));
    if (next == nullptr) break;
    if (blocks != nullptr) blocks->push_back(next->block);
    node = next;
    ids = ids.subspan(static_cast<size_t>(kBlock));
  }
  return node;
}

PrefixCache::Match PrefixCache::find(std::span<const int32_t> ids, int64_t most) {
  Match match;
  if (used_.empty()) return match;
  const auto limit = static_cast<size_t>(std::min(most, static_cast<int64_t>(ids.size())));
  Node* node = walk(ids.first(limit), &match.blocks);
  match.tokens = static_cast<int64_t>(match.blocks.size()) * kBlock;
  // Of what follows there, the one that agrees longest.
  const auto rest = ids.subspan(static_cast<size_t>(match.tokens));
  size_t longest = 0;
  Node* best = nullptr;
  for (Node* next : node->children) {
    const size_t agrees = common_beginning(next->tokens, rest);
    if (best != nullptr && agrees <= longest) continue;
    best = next;
    longest = agrees;
  }
  const size_t counted = std::min(longest, limit - static_cast<size_t>(match.tokens));
  if (counted > 0) match.blocks.push_back(best->block);
  const int64_t agreed = match.tokens + static_cast<int64_t>(longest);
  match.tokens += static_cast<int64_t>(counted);
  touch(counted > 0 ? best : node);
  match.end = End::unknown;
  if (match.tokens == static_cast<int64_t>(limit)) {
    match.end = End::whole;
  } else if (best != nullptr && longest < best->tokens.size() && agreed < static_cast<int64_t>(ids.size())) {
    match.end = End::differs;
    match.wanted = ids[static_cast<size_t>(agreed)];
    match.cached = best->tokens[longest];
  }
  return match;
}

bool PrefixCache::load_next(std::span<const int32_t> ids, int64_t most) {
  if (store_ == nullptr) return false;
  Node* node = walk(ids, nullptr);
  int64_t tokens = 0;
  for (const Node* at = node; at != &root_; at = at->parent) tokens += kBlock;
  if (tokens >= most || tokens + kBlock > static_cast<int64_t>(ids.size())) return false;
  const auto next = ids.subspan(static_cast<size_t>(tokens), static_cast<size_t>(kBlock));
  const std::string name = BlockStore::name_of(node->name, next);
  if (!store_->has(name)) return false;
  touch(node);
  auto block = pool_.take();
  while (!block.ok() && free_one()) block = pool_.take();
  if (!block.ok()) return false;
  const std::span<std::byte> into(pool_.data(*block), pool_.layout().block_bytes());
  Node* added = store_->load(name, next, into) ? add(*node, next, *block) : nullptr;
  pool_.release(*block);
  if (added == nullptr) return false;
  touch(added);
  ++counts_.loaded;
  trim();
  return true;
}

void PrefixCache::insert(std::span<const int32_t> ids, const KvCache& state, bool tail) {
  if (max_blocks_ == 0) return;
  ids = ids.first(static_cast<size_t>(state.tokens()));
  Node* node = &root_;
  for (const int32_t block : state.block_ids()) {
    const auto tokens = ids.first(std::min<size_t>(ids.size(), static_cast<size_t>(kBlock)));
    const bool whole = static_cast<int64_t>(tokens.size()) == kBlock;
    if (tokens.empty() || (!whole && !tail)) break;
    Node* next = child(*node, tokens);
    if (next == nullptr) {
      // A tail adds nothing where a block that goes on in the same way is there already.
      const auto covers = [&](const Node* other) { return common_beginning(other->tokens, tokens) == tokens.size(); };
      if (!whole && std::ranges::any_of(node->children, covers)) break;
      drop_shorter_tails(*node, tokens);
      next = add(*node, tokens, block);
      if (next == nullptr) break;
      if (store_ != nullptr && whole &&
          store_->save(next->name, next->tokens, {pool_.data(block), pool_.layout().block_bytes()}, block)) {
        pool_.share(block);  // until it is written
        give_back(store_->written(BlockStore::Wait::some));
      }
    }
    node = next;
    ids = ids.subspan(tokens.size());
  }
  touch(node);
  trim();
}

void PrefixCache::give_back(std::span<const int32_t> blocks) {
  for (const int32_t block : blocks) pool_.release(block);
}

void PrefixCache::settle() {
  if (store_ != nullptr) give_back(store_->written(BlockStore::Wait::all));
}

bool PrefixCache::free_one() {
  settle();
  return evict_one();
}

void PrefixCache::drop_shorter_tails(Node& parent, std::span<const int32_t> tokens) {
  const std::vector<Node*> children = parent.children;
  for (Node* other : children) {
    const size_t length = other->tokens.size();
    if (static_cast<int64_t>(length) < kBlock && common_beginning(other->tokens, tokens) == length) drop(other);
  }
}

void PrefixCache::drop(Node* node) {
  std::erase(node->parent->children, node);
  used_.erase(node->used);
  pool_.release(node->block);
  nodes_.erase(node->key);
}

void PrefixCache::trim() {
  while (blocks() > max_blocks_) {
    drop(used_.back());
    ++counts_.evictions;
  }
}

bool PrefixCache::evict_one() {
  if (used_.empty()) return false;
  Node* victim = used_.back();
  for (auto at = used_.rbegin(); at != used_.rend(); ++at) {
    if (pool_.shared((*at)->block) || !(*at)->children.empty()) continue;
    victim = *at;
    break;
  }
  drop(victim);
  ++counts_.evictions;
  return true;
}

int64_t PrefixCache::erase(std::span<const int32_t> ids) {
  Node* node = walk(ids, nullptr);
  int64_t held = 0;
  for (const Node* at = node; at != &root_; at = at->parent) held += kBlock;
  int64_t erased = 0;
  const auto rest = ids.subspan(static_cast<size_t>(held));
  if (!rest.empty()) {
    if (Node* last = child(*node, rest)) node = last;
  }
  while (node != &root_ && node->children.empty()) {
    Node* parent = node->parent;
    erased += static_cast<int64_t>(node->tokens.size());
    drop(node);
    node = parent;
  }
  return erased;
}

}  // namespace moxie

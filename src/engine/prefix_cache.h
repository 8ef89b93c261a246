// Keys and values of text that was computed before, for whatever begins with the same tokens. Content-addressed: a
// block of the KV cache is found by a hash over its own tokens and all before it, and the tokens are compared, so that
// a hit is exact. Blocks are shared with the sequences that made or use them, not copied; the least recently used ones
// go first. Reuse ends at any token: of the last block as many positions count as fit, and whoever goes on from there
// copies it.
//
// Belongs to the engine's step, as the pool does.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/block_store.h"
#include "model/kv_cache.h"

namespace moxie {

struct PrefixCounts {
  uint64_t evictions = 0;
  uint64_t loaded = 0;  // blocks from disk
};

// Of how many tokens both begin alike.
size_t common_beginning(std::span<const int32_t> a, std::span<const int32_t> b);

class PrefixCache {
 public:
  // Why reuse ended where it did.
  enum class End : uint8_t {
    whole,    // nothing was left to reuse
    differs,  // what is cached goes on with `cached`, the text with `wanted`
    unknown,  // nothing that goes on from there is cached
    empty,    // nothing is cached at all
  };
  struct Match {
    int64_t tokens = 0;
    std::vector<int32_t> blocks;  // for KvCache::adopt; valid until the next call
    End end = End::empty;
    int32_t wanted = -1, cached = -1;
  };

  // At most max_blocks are held. The pool must outlive the cache. store: null, or where blocks come from that are not
  // in memory, and go to.
  PrefixCache(KvPool& pool, int64_t max_blocks, BlockStore* store = nullptr);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The longest cached beginning of ids, of at most `most` tokens.
  Match find(std::span<const int32_t> ids, int64_t most);
  // Reads one more block than find() knows of `ids` from the store. False: there is none, or it is damaged.
  bool load_next(std::span<const int32_t> ids, int64_t most);
  // Shares what a sequence of these ids has computed: whole blocks, and with `tail` the last one that is not full. A
  // tail must not be written any more. REQUIRES: ids has state.tokens() at least.
  void insert(std::span<const int32_t> ids, const KvCache& state, bool tail);
  // Makes a block free: the least recently used one that no sequence uses; where all are in use, one of those gets one
  // owner less. False: nothing is left to forget.
  bool free_one();
  // What the store has written is given back; waits for all of it.
  void settle();
  // Forgets what only these ids led to; returns how many tokens that were.
  int64_t erase(std::span<const int32_t> ids);

  int64_t blocks() const { return static_cast<int64_t>(used_.size()); }
  const PrefixCounts& counts() const { return counts_; }

 private:
  struct Node {
    Node* parent = nullptr;
    uint64_t key = 0;
    std::string name;  // in the store; empty: it has no place there
    std::vector<int32_t> tokens;
    int32_t block = -1;
    std::vector<Node*> children;
    std::list<Node*>::iterator used;
  };
  static constexpr int64_t kBlock = KvLayout::kBlockTokens;

  Node* child(const Node& parent, std::span<const int32_t> tokens) const;
  Node* add(Node& parent, std::span<const int32_t> tokens, int32_t block);
  Node* walk(std::span<const int32_t> ids, std::vector<int32_t>* blocks);
  void touch(Node* last);
  bool evict_one();
  void give_back(std::span<const int32_t> blocks);
  void drop(Node* node);
  void drop_shorter_tails(Node& parent, std::span<const int32_t> tokens);
  void trim();

  KvPool& pool_;
  int64_t max_blocks_;
  BlockStore* store_;
  Node root_;
  std::unordered_map<uint64_t, std::unique_ptr<Node>> nodes_;  // by key
  std::list<Node*> used_;  // latest first; no block is before the one that it follows
  PrefixCounts counts_;
};

}  // namespace moxie

#include "text/bpe_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "text/utf8.h"

namespace moxie {
namespace {

constexpr uint64_t kNoKey = ~uint64_t{0};
// Merging keeps about 60 bytes per character: longer runs without a boundary are cut, so that memory stays bounded.
constexpr size_t kPartBytesMax = size_t{1} << 24;

uint64_t merge_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t merge_hash(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return static_cast<size_t>(key ^ (key >> 32));
}

// Makes std::push_heap keep the candidate that merges first on top: best rank, then leftmost.
struct MergesLater {
  bool operator()(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  }
};

bool can_merge(TokenKind kind) {
  return kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::unused;
}

}  // namespace

BpeModel::BpeModel(const TokenizerSpec& spec, const TokenTable& table) : spec_(&spec), table_(&table) {
  byte_tokens_.fill(-1);
  for (int32_t id = 0; id < spec.size(); ++id) {
    const size_t i = static_cast<size_t>(id);
    if (spec.kinds[i] == TokenKind::byte) {
      if (const int value = byte_token_value(spec.texts[i]); value >= 0) byte_tokens_[static_cast<size_t>(value)] = id;
    }
    if (spec.frozen_user_defined && spec.kinds[i] == TokenKind::user_defined && !spec.texts[i].empty()) {
      frozen_lengths_.push_back(spec.texts[i].size());
    }
  }
  std::sort(frozen_lengths_.begin(), frozen_lengths_.end(), std::greater<>());
  frozen_lengths_.erase(std::unique(frozen_lengths_.begin(), frozen_lengths_.end()), frozen_lengths_.end());
  all_bytes_ = std::find(byte_tokens_.begin(), byte_tokens_.end(), -1) == byte_tokens_.end();

  first_symbols_.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) {
    if (spec.byte_level) {
      first_symbols_[byte] = mergeable(byte_level_alphabet()[byte]);
    } else if (spec.byte_symbols || byte < 0x80) {
      const char character = static_cast<char>(byte);
      first_symbols_[byte] = mergeable(std::string_view(&character, 1));
    }
  }
  if (spec.merge_by_score) {
    rank_scores();
  } else {
    index_merges();
  }
  if (!spec.byte_symbols) find_space_boundary();
}

// Equal scores get equal ranks, so that the leftmost of them merges first.
void BpeModel::rank_scores() {
  const auto score = [this](int32_t id) {
    const float value = spec_->scores[static_cast<size_t>(id)];
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  };
  std::vector<int32_t> order(spec_->texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
  ranks_.resize(order.size());
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && score(order[i]) != score(order[i - 1])) ++rank;
    ranks_[static_cast<size_t>(order[i])] = rank;
  }
}

void BpeModel::index_merges() {
  size_t slots = 16;
  while (slots < spec_->merges.size() * 2) slots *= 2;
  merge_keys_.assign(slots, kNoKey);
  merge_values_.assign(slots, Merge{0, -1});
  int32_t rank = 0;
  for (const MergeRule& rule : spec_->merges) {
    const uint64_t key = merge_key(rule.left, rule.right);
    size_t at = merge_hash(key) & (slots - 1);
    while (merge_keys_[at] != kNoKey && merge_keys_[at] != key) at = (at + 1) & (slots - 1);
    merge_keys_[at] = key;
    merge_values_[at] = {rank++, rule.result};
  }
}

// When no token has a space mark behind another character, no merge crosses the beginning of a word, and words can be
// merged one by one: the same ids from short, cache-friendly pieces.
void BpeModel::find_space_boundary() {
  splits_at_space_ = spec_->space_mark;
  for (size_t i = 0; i < spec_->texts.size() && splits_at_space_; ++i) {
    if (!can_merge(spec_->kinds[i])) continue;
    const std::string& text = spec_->texts[i];
    for (size_t at = text.find(kSpaceMark, 1); at != std::string::npos; at = text.find(kSpaceMark, at + 1)) {
      const bool after_mark =
          at >= kSpaceMark.size() && text.compare(at - kSpaceMark.size(), kSpaceMark.size(), kSpaceMark) == 0;
      if (!after_mark) splits_at_space_ = false;
    }
  }
}

int32_t BpeModel::mergeable(std::string_view text) const {
  const int32_t id = table_->find(text);
  return id >= 0 && can_merge(spec_->kinds[static_cast<size_t>(id)]) ? id : -1;
}

bool BpeModel::merge_of(std::string_view part, const BpeScratch::Symbol& left, const BpeScratch::Symbol& right,
                        Merge& merge) const {
  if (spec_->merge_by_score) {
    const int32_t id = mergeable(part.substr(left.begin, left.bytes + right.bytes));
    if (id < 0) return false;
    merge = {ranks_[static_cast<size_t>(id)], id};
    return true;
  }
  if (left.id < 0 || right.id < 0) return false;
  const uint64_t key = merge_key(left.id, right.id);
  const size_t mask = merge_keys_.size() - 1;
  size_t at = merge_hash(key) & mask;
  while (merge_keys_[at] != kNoKey && merge_keys_[at] != key) at = (at + 1) & mask;
  if (merge_keys_[at] == kNoKey) return false;
  merge = merge_values_[at];
  return true;
}

size_t BpeModel::frozen_at(std::string_view part, size_t at, int32_t& id) const {
  for (const size_t bytes : frozen_lengths_) {
    if (bytes > part.size() - at) continue;
    id = table_->find(part.substr(at, bytes));
    if (id >= 0 && spec_->kinds[static_cast<size_t>(id)] == TokenKind::user_defined) return bytes;
  }
  return 0;
}

void BpeModel::split_to_symbols(std::string_view part, BpeScratch& scratch) const {
  scratch.symbols.clear();
  for (size_t at = 0; at < part.size();) {
    const unsigned char byte = static_cast<unsigned char>(part[at]);
    int32_t id = -1;
    size_t bytes = frozen_lengths_.empty() ? 0 : frozen_at(part, at, id);
    const bool frozen = bytes > 0;
    if (frozen) {
    } else if (spec_->byte_symbols || byte < 0x80) {
      bytes = 1;
      id = first_symbols_[byte];
    } else {
      bytes = utf8_length(part, at);
      id = mergeable(part.substr(at, bytes));
    }
    const int32_t index = static_cast<int32_t>(scratch.symbols.size());
    scratch.symbols.push_back({at, bytes, id, index - 1, index + 1, frozen});
    at += bytes;
  }
  if (!scratch.symbols.empty()) scratch.symbols.back().next = -1;
}

void BpeModel::consider(std::string_view part, int32_t left, int32_t right, BpeScratch& scratch) const {
  const BpeScratch::Symbol& a = scratch.symbols[static_cast<size_t>(left)];
  const BpeScratch::Symbol& b = scratch.symbols[static_cast<size_t>(right)];
  Merge merge;
  if (a.frozen || b.frozen || !merge_of(part, a, b, merge)) return;
  scratch.heap.push_back({merge.rank, left, right, merge.result, a.bytes + b.bytes});
  if (spec_->resegment_unused && spec_->kinds[static_cast<size_t>(merge.result)] == TokenKind::unused) {
    scratch.unused_halves[merge.result] = a.bytes;
  }
}

void BpeModel::merge_all(std::string_view part, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  for (size_t i = 1; i < symbols.size(); ++i) {
    consider(part, static_cast<int32_t>(i) - 1, static_cast<int32_t>(i), scratch);
  }
  std::make_heap(heap.begin(), heap.end(), MergesLater());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), MergesLater());
    const BpeScratch::Candidate best = heap.back();
    heap.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(best.left)];
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(best.right)];
    // A symbol that another one swallowed has no bytes; one that grew has more.
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != best.bytes) continue;
    left.bytes = best.bytes;
    left.id = best.result;
    left.next = right.next;
    right.bytes = 0;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.left;
    const int32_t previous = left.previous, next = left.next;
    for (const auto& [a, b] : {std::pair{previous, best.left}, std::pair{best.left, next}}) {
      const size_t before = heap.size();
      if (a >= 0 && b >= 0) consider(part, a, b, scratch);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), MergesLater());
    }
  }
}

void BpeModel::emit(std::string_view text, int32_t id, const BpeScratch& scratch, std::vector<int32_t>& ids,
                    bool& after_unknown) const {
  if (id >= 0) {
    const auto half = scratch.unused_halves.find(id);
    if (half != scratch.unused_halves.end() && half->second < text.size()) {
      // SentencePiece: unused tokens only help to merge; in the end they fall back into the two parts that made them.
      for (const std::string_view part : {text.substr(0, half->second), text.substr(half->second)}) {
        emit(part, mergeable(part), scratch, ids, after_unknown);
      }
      return;
    }
    ids.push_back(id);
    after_unknown = false;
    return;
  }
  const auto known = [this](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)] >= 0; };
  if (spec_->byte_fallback && (all_bytes_ || std::all_of(text.begin(), text.end(), known))) {
    for (const char byte : text) ids.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
    after_unknown = false;
    return;
  }
  if (spec_->unknown < 0 || (after_unknown && spec_->fuse_unknown)) return;
  ids.push_back(spec_->unknown);
  after_unknown = true;
}

void BpeModel::encode_part(std::string_view part, BpeScratch& scratch, std::vector<int32_t>& ids,
                           bool& after_unknown) const {
  scratch.unused_halves.clear();
  split_to_symbols(part, scratch);
  merge_all(part, scratch);
  for (int32_t i = scratch.symbols.empty() ? -1 : 0; i >= 0; i = scratch.symbols[static_cast<size_t>(i)].next) {
    const BpeScratch::Symbol& symbol = scratch.symbols[static_cast<size_t>(i)];
    emit(part.substr(symbol.begin, symbol.bytes), symbol.id, scratch, ids, after_unknown);
  }
}

void BpeModel::encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (spec_->ignore_merges) {
    std::string spelled;
    if (spec_->byte_level) {
      for (const char byte : piece) spelled += byte_level_alphabet()[static_cast<unsigned char>(byte)];
    }
    if (const int32_t id = mergeable(spec_->byte_level ? spelled : piece); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  bool after_unknown = false;
  for (size_t begin = 0; begin < piece.size();) {
    size_t end = piece.size();
    if (splits_at_space_) {  // a part is marks, then anything up to the next mark
      size_t at = begin;
      while (piece.compare(at, kSpaceMark.size(), kSpaceMark) == 0) at += kSpaceMark.size();
      end = std::min(piece.find(kSpaceMark, at), end);
    }
    if (end - begin > kPartBytesMax) {
      end = begin + kPartBytesMax;
      while (end > begin + 1 && (static_cast<unsigned char>(piece[end]) & 0xC0) == 0x80) --end;
    }
    encode_part(piece.substr(begin, end - begin), scratch, ids, after_unknown);
    begin = end;
  }
}

}  // namespace moxie

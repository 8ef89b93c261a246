#include "grammar/token_trie.h"

#include <algorithm>

namespace moxie::grammar {

TokenTrie::TokenTrie(std::vector<std::string> texts, std::span<const int32_t> end_ids)
    : texts_(std::move(texts)), is_end_(texts_.size()) {
  for (const int32_t id : end_ids) {
    if (id < 0 || id >= vocabulary_size()) continue;
    is_end_[static_cast<size_t>(id)] = true;
    texts_[static_cast<size_t>(id)].clear();
  }
  for (int32_t id = 0; id < vocabulary_size(); ++id) {
    if (!text(id).empty()) ids_.push_back(id);
  }
  std::stable_sort(ids_.begin(), ids_.end(), [&](int32_t a, int32_t b) { return text(a) < text(b); });

  nodes_.push_back({0, 0, 0, 0});
  std::vector<uint32_t> path = {0};  // nodes from the root to the token before
  std::string_view before;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth + 1; path.pop_back()) nodes_[path.back()].skip = static_cast<uint32_t>(nodes_.size());
  };
  for (uint32_t at = 0; at < ids_.size(); ++at) {
    const std::string_view token = text(ids_[at]);
    size_t same = 0;
    while (same < token.size() && same < before.size() && token[same] == before[same]) ++same;
    close(same);
    for (size_t i = same; i < token.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, at, static_cast<uint32_t>(i + 1), static_cast<uint8_t>(token[i])});
    }
    depth_max_ = std::max(depth_max_, token.size());
    before = token;
  }
  close(0);
  nodes_[0].skip = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({0, static_cast<uint32_t>(ids_.size()), 0, 0});
}

}  // namespace moxie::grammar

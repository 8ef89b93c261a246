// The byte strings of a vocabulary as a tree, so that tokens which begin alike are tested once. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moxie::grammar {

class TokenTrie {
 public:
  // Nodes in the order of a walk that visits a node before its children: what lies below node i is i + 1 to its skip.
  struct Node {
    uint32_t skip;
    uint32_t tokens_begin;  // into ids(), up to the next node's
    uint32_t depth;         // bytes from the root
    uint8_t byte;
  };

  // texts: (vocabulary), the bytes of each token; empty for one that stands for no text. Tokens of end_ids end the
  // text; their bytes are not looked at.
  TokenTrie(std::vector<std::string> texts, std::span<const int32_t> end_ids);

  int32_t vocabulary_size() const { return static_cast<int32_t>(texts_.size()); }
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  bool is_end(int32_t id) const { return is_end_[static_cast<size_t>(id)]; }
  // The root and all nodes, and after them one more that closes the last one's tokens.
  size_t node_count() const { return nodes_.size() - 1; }
  const Node& node(size_t i) const { return nodes_[i]; }
  std::span<const int32_t> tokens(size_t i) const {
    return {ids_.data() + nodes_[i].tokens_begin, nodes_[i + 1].tokens_begin - nodes_[i].tokens_begin};
  }
  // The bytes from the root to node i.
  std::string_view path(size_t i) const { return text(ids_[nodes_[i].tokens_begin]).substr(0, nodes_[i].depth); }
  size_t depth_max() const { return depth_max_; }

 private:
  std::vector<std::string> texts_;
  std::vector<bool> is_end_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;  // in the order of the walk
  size_t depth_max_ = 0;
};

}  // namespace moxie::grammar

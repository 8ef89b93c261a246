// From a token's text to its id: an open-addressing table over strings that the caller keeps. Immutable once filled, so
// any thread may look up. Encoding asks it a few times per character, which is why it is not a std::unordered_map.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace moxie {

inline uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0x9E3779B97F4A7C15u ^ text.size();
  const char* at = text.data();
  size_t left = text.size();
  const auto mix = [&hash](uint64_t word) {
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  uint64_t word = 0;
  std::memcpy(&word, at, left);
  mix(word);
  return hash ^ (hash >> 29);
}

class TokenTable {
 public:
  // Makes room for `count` entries. REQUIRES: called once, before insert().
  void reserve(size_t count) {
    size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    slots_.assign(slots, Slot{});
  }

  // Of two equal texts the later one wins. Empty texts are not kept. `text` must outlive the table.
  void insert(std::string_view text, int32_t id) {
    if (text.empty()) return;
    Slot& slot = slots_[slot_of(text)];
    slot = {text.data(), static_cast<uint32_t>(text.size()), id};
    if (text.size() > longest_) longest_ = text.size();
  }

  // -1 when there is none.
  int32_t find(std::string_view text) const {
    if (text.empty() || text.size() > longest_) return -1;
    const Slot& slot = slots_[slot_of(text)];
    return slot.text ? slot.id : -1;
  }

  size_t longest() const { return longest_; }

 private:
  struct Slot {
    const char* text = nullptr;
    uint32_t bytes = 0;
    int32_t id = -1;
  };

  size_t slot_of(std::string_view text) const {
    const size_t mask = slots_.size() - 1;
    size_t at = hash_text(text) & mask;
    while (slots_[at].text &&
           (slots_[at].bytes != text.size() || std::memcmp(slots_[at].text, text.data(), text.size()) != 0)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  std::vector<Slot> slots_;
  size_t longest_ = 0;
};

}  // namespace moxie

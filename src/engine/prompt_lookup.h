// Guesses how a text goes on by what followed the same tokens before (prompt lookup, Saxena 2023): answers repeat
// names, code and quotations of their prompts. A guess costs little and decides nothing: it is computed along with the
// token before it, and counts only where the model draws the same. Stateless.
#pragma once

#include <cstdint>
#include <span>

namespace moxie {

// What followed the latest earlier place with the same last tokens: the longest match counts, of kLookupMost to
// kLookupLeast tokens. At most `most` tokens; empty where there is none.
inline constexpr size_t kLookupMost = 4, kLookupLeast = 2;
std::span<const int32_t> look_up(std::span<const int32_t> ids, int64_t most);

// How many tokens to guess: more while all are right, fewer after a wrong one.
class DraftLength {
 public:
  explicit DraftLength(int64_t most) : most_(most), length_(most) {}
  int64_t length() const { return length_; }
  void learn(int64_t drafted, int64_t accepted);

 private:
  int64_t most_, length_;
};

}  // namespace moxie

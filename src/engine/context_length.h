// How long a context is when it is not said, and when it is said in the flags' special values.
#pragma once

#include <algorithm>
#include <cstdint>

namespace moxie {

inline constexpr int64_t kDefaultContext = 4096;  // tokens

// `asked`: tokens, 0 for what the model was trained for, below 0 for the default. `trained`: 0 where the file does not
// say.
inline int64_t context_length(int64_t asked, int64_t trained) {
  if (trained <= 0) trained = kDefaultContext;
  if (asked < 0) return std::min(trained, kDefaultContext);
  return asked == 0 ? trained : asked;
}

}  // namespace moxie

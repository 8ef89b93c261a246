// Checks of our own reasoning, never of input: a failed check is a bug in moxie.
#pragma once

namespace moxie {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define MOXIE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::moxie::check_failed(#condition, __FILE__, __LINE__))
#ifdef NDEBUG
#define MOXIE_DCHECK(condition) static_cast<void>(sizeof(condition))
#else
#define MOXIE_DCHECK(condition) MOXIE_CHECK(condition)
#endif

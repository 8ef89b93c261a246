#include "core/fail.h"
#include "core/read_backend.h"

namespace moxie {

Result<std::unique_ptr<ReadBackend>> make_uring_backend(ReadQueue&) {
  return fail(ErrorCode::unavailable, "this build has none");
}

}  // namespace moxie

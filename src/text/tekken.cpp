// tekken.json of Mistral's own checkpoints.
#include "core/fail.h"
#include "text/tokenizer_spec.h"

namespace moxie {

Result<TokenizerSpec> read_tekken(std::string_view) {
  return fail(ErrorCode::unsupported, "tekken.json is not supported; put the model's tokenizer.json beside it");
}

}  // namespace moxie

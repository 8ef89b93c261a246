// The first byte chooses GBNF, a JSON schema or a regular expression. What compiles takes text, byte by byte.
#include "core/check.h"
#include "grammar/grammar_cache.h"
#include "grammar/state_sets.h"

using namespace moxie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto kind = static_cast<grammar::GrammarKind>(data[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto automaton = grammar::compile_grammar(kind, text);
  if (!automaton.ok()) {
    MOXIE_CHECK(automaton.error().code != ErrorCode::internal);
    return 0;
  }
  // Any way through the grammar can be completed: follow the first byte that fits.
  grammar::StateSets sets(*automaton);
  grammar::SetId set = sets.start();
  MOXIE_CHECK(set != grammar::StateSets::kDead);
  for (int length = 0; length < 64 && !sets.gave_up(); ++length) {
    grammar::SetId next = grammar::StateSets::kDead;
    for (int byte = 0; byte < 256 && next == grammar::StateSets::kDead; ++byte) {
      next = sets.step(set, static_cast<uint8_t>(byte + data[size - 1]));
    }
    if (next == grammar::StateSets::kDead) {
      MOXIE_CHECK(sets.ends(set) || automaton->has_token_edges() || sets.gave_up());
      break;
    }
    set = next;
  }
  return 0;
}

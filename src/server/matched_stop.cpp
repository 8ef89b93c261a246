#include "server/matched_stop.h"

#include "text/detokenizer.h"

namespace moxie::server {

std::string matched_stop(const Tokenizer& tokenizer, std::span<const int32_t> ids, std::string_view text, bool special,
                         const std::vector<std::string>& stops) {
  // The blank that begins a text is dropped or not, depending on what stood before it.
  for (const bool at_start : {false, true}) {
    const std::string whole = decode(tokenizer, ids, {.with_special = special, .at_start_of_text = at_start});
    if (!std::string_view(whole).starts_with(text)) continue;
    const std::string_view rest = std::string_view(whole).substr(text.size());
    for (const std::string& stop : stops) {
      if (rest.starts_with(stop)) return stop;
    }
  }
  return {};
}

}  // namespace moxie::server

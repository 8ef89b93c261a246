// Chat templates from whatever bytes, over whatever variables: the input is a template, a NUL and JSON for the
// variables. What parses is rendered within small limits: it ends, gives valid UTF-8 or an error that names a line, and
// gives the same again.
#include <string>
#include <string_view>

#include "chat/jinja/template.h"
#include "core/check.h"
#include "core/json.h"
#include "text/detokenizer.h"

using namespace moxie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const auto parsed = jinja::Template::parse(input.substr(0, end));
  if (!parsed.ok()) {
    MOXIE_CHECK(!parsed.error().message.empty());
    return 0;
  }
  jinja::Value variables;
  if (end != std::string_view::npos) {
    const auto json = parse_json(input.substr(end + 1), "variables", {.depth_max = 64, .values_max = 1 << 16});
    if (json.ok()) variables = jinja::from_json(*json);
  }
  std::tm now{};
  now.tm_mday = 1;
  const jinja::Limits limits{.steps_max = 20'000, .depth_max = 200, .output_bytes_max = 1 << 20, .bytes_max = 8 << 20};
  const auto first = parsed->render(variables, now, limits);
  if (first.text.ok()) {
    MOXIE_CHECK(to_valid_utf8(*first.text) == *first.text);
    const auto second = parsed->render(variables, now, limits);
    MOXIE_CHECK(second.text.ok() && *second.text == *first.text);
  } else {
    MOXIE_CHECK(first.text.error().message.starts_with("chat template, line "));
  }
  return 0;
}

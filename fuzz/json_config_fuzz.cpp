// config.json and the index of shards; JSON that parses is written and parsed again to the same text.
#include "core/check.h"
#include "core/json.h"
#include "format/config.h"
#include "format/formats/safetensors_folder.h"

using namespace moxie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = parse_config(text, "config.json");
  if (config.ok()) {
    for (const auto& [key, value] : config->all()) {
      (void)config->integers(key);
      (void)config->numbers(key);
      (void)config->boolean(key);
      (void)config->texts(key);
    }
  }
  if (const auto files = parse_safetensors_index(text, "folder/model.safetensors.index.json"); files.ok()) {
    for (const auto& [tensor, number] : files->weight_map) MOXIE_CHECK(number < files->names.size());
  }
  const auto json = parse_json(text, "text", {.distinct_keys = true});
  if (!json.ok()) return 0;
  const std::string written = to_text(*json);
  const auto again = parse_json(written, "written", {.bytes_max = size_t{1} << 30});
  MOXIE_CHECK(again.ok());
  MOXIE_CHECK(to_text(*again) == written);
  return 0;
}

// params.json of Mistral's own layout: what is taken becomes a config.json that parses.
#include "core/check.h"
#include "format/config.h"
#include "format/formats/safetensors_mistral.h"

using namespace moxie;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = config_from_params(std::string_view(reinterpret_cast<const char*>(data), size), "params.json");
  if (config.ok()) MOXIE_CHECK(parse_config(*config, "config.json").ok());
  return 0;
}

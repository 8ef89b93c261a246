#include "chat/tool_format.h"

#include <algorithm>

namespace moxie {

#define MOXIE_ENTRY(name) extern const ToolFormat name;
namespace call_formats {
#include "chat/tool_formats.inc"
}
#undef MOXIE_ENTRY

namespace {

#define MOXIE_ENTRY(name) &call_formats::name,
constexpr const ToolFormat* kToolFormats[] = {
#include "chat/tool_formats.inc"
};
#undef MOXIE_ENTRY

}  // namespace

std::span<const ToolFormat* const> tool_formats() {
  return kToolFormats;
}

const ToolFormat& tool_format_of(std::string_view chat_template) {
  const auto found = std::find_if(std::begin(kToolFormats), std::end(kToolFormats),
                                  [&](const ToolFormat* format) { return format->matches(chat_template); });
  return found == std::end(kToolFormats) ? call_formats::generic : **found;
}

const ToolFormat* find_tool_format(std::string_view name) {
  const auto found = std::find_if(std::begin(kToolFormats), std::end(kToolFormats),
                                  [&](const ToolFormat* format) { return format->name == name; });
  return found == std::end(kToolFormats) ? nullptr : *found;
}

}  // namespace moxie

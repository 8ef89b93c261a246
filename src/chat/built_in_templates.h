// Chat formats by name, for models whose files bring no template or a broken one: the names are llama.cpp's. Pure
// functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moxie {

// The Jinja template of a format; nothing for an unknown name.
std::optional<std::string> built_in_template(std::string_view name);
std::vector<std::string_view> built_in_template_names();

}  // namespace moxie

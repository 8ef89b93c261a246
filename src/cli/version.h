#pragma once

#include <string_view>

namespace moxie {

std::string_view version();  // "0.1.0"

}  // namespace moxie

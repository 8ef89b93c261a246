// The two halves of the table of filters.
#pragma once

#include "chat/jinja/interpreter.h"

namespace moxie::jinja {

std::span<const FilterEntry> text_filters();
std::span<const FilterEntry> sequence_filters();

}  // namespace moxie::jinja

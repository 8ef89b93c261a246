// Texts and sizes, made fit for a message. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace moxie {

// `text` with control bytes and broken UTF-8 escaped, cut after about 120 bytes.
std::string printable(std::string_view text);

std::string human_bytes(uint64_t bytes);  // "26.4 GiB"

}  // namespace moxie

// Text out of files and requests, made fit for a message. Stateless, thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace moxie {

// `text` with control bytes and broken UTF-8 escaped, cut after about 120 bytes.
std::string printable(std::string_view text);

}  // namespace moxie

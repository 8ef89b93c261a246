// Framing of server-sent events. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace moxie::server {

// "data: JSON\n\n".
inline void append_event(std::string& out, const Json& data) {
  out.append("data: ").append(to_text(data)).append("\n\n");
}

// "event: NAME\ndata: JSON\n\n".
inline void append_event(std::string& out, std::string_view name, const Json& data) {
  out.append("event: ").append(name).append("\n");
  append_event(out, data);
}

// A line that clients skip: it keeps proxies from closing a stream on which nothing comes yet.
inline void append_comment(std::string& out) {
  out.append(":\n\n");
}

}  // namespace moxie::server

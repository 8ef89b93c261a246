// A TCP socket that listens. Pure function.
#pragma once

#include <string>

#include "moxie/error.h"

namespace moxie::server {

struct ListenSocket {
  int fd = -1;
  int port = 0;
  std::string address;  // "127.0.0.1:8080", "[::1]:8080"
  bool loopback = false;
};

// host: a name or address of this machine. port: 0 for any free one. Errors: invalid_argument, unavailable (taken), io.
Result<ListenSocket> listen_on(const std::string& host, int port);

}  // namespace moxie::server

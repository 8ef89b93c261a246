#include "server/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "core/fail.h"

namespace moxie::server {
namespace {

struct Addresses {
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

Result<void> describe(ListenSocket& socket) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(socket.fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return fail(ErrorCode::io, "the socket's own address cannot be read: {}", std::strerror(errno));
  }
  char text[INET6_ADDRSTRLEN] = {};
  if (bound.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(bound);
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    socket.port = ntohs(six.sin6_port);
    socket.address = fmt::format("[{}]:{}", text, socket.port);
    socket.loopback = IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
  } else {
    const auto& four = reinterpret_cast<const sockaddr_in&>(bound);
    inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
    socket.port = ntohs(four.sin_port);
    socket.address = fmt::format("{}:{}", text, socket.port);
    socket.loopback = (ntohl(four.sin_addr.s_addr) >> 24) == 127;
  }
  return {};
}

}  // namespace

Result<ListenSocket> listen_on(const std::string& host, int port) {
  if (port < 0 || port > 65535) return fail(ErrorCode::invalid_argument, "--port {} is outside 0 to 65535", port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  Addresses found;
  if (const int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found.first); status != 0) {
    return fail(ErrorCode::invalid_argument, "--host {}: {}; give an address of this machine, such as 127.0.0.1", host,
                gai_strerror(status));
  }
  int failure = 0;
  for (const addrinfo* address = found.first; address != nullptr; address = address->ai_next) {
    ListenSocket made;
    made.fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
    if (made.fd < 0) {
      failure = errno;
      continue;
    }
    const int on = 1;
    setsockopt(made.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(made.fd, address->ai_addr, address->ai_addrlen) == 0 && listen(made.fd, 256) == 0) {
      if (auto described = describe(made); !described.ok()) {
        close(made.fd);
        return std::move(described).error();
      }
      return made;
    }
    failure = errno;
    close(made.fd);
  }
  const ErrorCode code = failure == EADDRINUSE ? ErrorCode::unavailable : ErrorCode::io;
  return fail(code, "cannot listen on {} port {}: {}{}", host, port, std::strerror(failure),
              failure == EADDRINUSE ? "; another program has it, take another --port" : "");
}

}  // namespace moxie::server

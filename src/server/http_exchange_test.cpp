#include "server/http_exchange.h"

#include <gtest/gtest.h>

#include <array>

namespace moxie::server {
namespace {

// The network's side of an exchange, without a network.
struct Wire {
  std::shared_ptr<HttpExchange> exchange = std::make_shared<HttpExchange>(HttpRequest{});
  int suspended = 0, resumed = 0;

  Wire() {
    exchange->attach({.suspend = [this] { ++suspended; }, .resume = [this] { ++resumed; }});
  }
  // Everything that can be taken now; "<end>", "<broken>" or "<wait>" behind it.
  std::string take() {
    std::string all;
    std::array<char, 3> piece;
    for (;;) {
      const int64_t count = exchange->take_bytes(piece.data(), piece.size());
      if (count == HttpExchange::kEnd) return all + "<end>";
      if (count == HttpExchange::kBroken) return all + "<broken>";
      if (count == 0) return all + "<wait>";
      all.append(piece.data(), static_cast<size_t>(count));
    }
  }
};

TEST(HttpExchange, AResponseWakesTheConnectionThatWaitsForIt) {
  Wire wire;
  HttpExchange::Ready ready;
  EXPECT_EQ(wire.exchange->take_response(ready), HttpExchange::Wait::suspended);
  EXPECT_EQ(wire.suspended, 1);
  wire.exchange->respond({.status = 201, .body = "x"});
  wire.exchange->respond({.status = 500, .body = "late"});
  EXPECT_EQ(wire.resumed, 1);
  ASSERT_EQ(wire.exchange->take_response(ready), HttpExchange::Wait::ready);
  EXPECT_EQ(ready.response.status, 201);
  EXPECT_EQ(ready.response.body, "x");
  EXPECT_FALSE(ready.streamed);
}

TEST(HttpExchange, AStreamGivesItsBytesInOrderAndWaitsBetween) {
  Wire wire;
  HttpExchange::Ready ready;
  wire.exchange->begin_stream({.status = 200});
  ASSERT_EQ(wire.exchange->take_response(ready), HttpExchange::Wait::ready);
  EXPECT_TRUE(ready.streamed);
  EXPECT_TRUE(wire.exchange->write("hello "));
  EXPECT_TRUE(wire.exchange->write("world"));
  EXPECT_EQ(wire.take(), "hello world<wait>");
  EXPECT_EQ(wire.resumed, 0);
  EXPECT_TRUE(wire.exchange->write("!"));
  EXPECT_EQ(wire.resumed, 1);
  wire.exchange->end_stream();
  EXPECT_EQ(wire.take(), "!<end>");
  EXPECT_FALSE(wire.exchange->write("more"));
  EXPECT_EQ(wire.exchange->bytes_sent(), 12u);
}

TEST(HttpExchange, WhoDoesNotReadIsGone) {
  Wire wire;
  wire.exchange->begin_stream({});
  const std::string piece(HttpExchange::kWaitingBytesMax / 4, 'x');
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(wire.exchange->write(piece));
  EXPECT_FALSE(wire.exchange->write("y"));
  EXPECT_TRUE(wire.exchange->gone());
  EXPECT_EQ(wire.take(), "<broken>");
}

TEST(HttpExchange, AClientThatLeavesIsTold) {
  Wire wire;
  int gone = 0;
  HttpExchange::Ready ready;
  EXPECT_EQ(wire.exchange->take_response(ready), HttpExchange::Wait::suspended);
  wire.exchange->on_gone([&] { ++gone; });
  wire.exchange->close(false);
  wire.exchange->close(true);
  EXPECT_EQ(gone, 1);
  EXPECT_EQ(wire.resumed, 1);  // so that its connection can be closed
  EXPECT_EQ(wire.exchange->take_response(ready), HttpExchange::Wait::gone);
  wire.exchange->on_gone([&] { ++gone; });  // too late: at once
  EXPECT_EQ(gone, 2);
}

TEST(HttpExchange, AWholeResponseIsNoLeaving) {
  Wire wire;
  int gone = 0;
  wire.exchange->on_gone([&] { ++gone; });
  wire.exchange->respond({});
  wire.exchange->close(true);
  EXPECT_EQ(gone, 0);
}

TEST(HttpExchange, SilenceIsNoticedOncePerInterval) {
  Wire wire;
  int idle = 0;
  wire.exchange->on_idle(std::chrono::milliseconds(100), [&] { ++idle; });
  const auto start = Clock::now();
  wire.exchange->tick(start);
  EXPECT_EQ(idle, 0);
  wire.exchange->tick(start + std::chrono::milliseconds(150));
  wire.exchange->tick(start + std::chrono::milliseconds(160));
  EXPECT_EQ(idle, 1);
  wire.exchange->tick(start + std::chrono::milliseconds(300));
  EXPECT_EQ(idle, 2);
  wire.exchange->respond({});
  wire.exchange->tick(start + std::chrono::milliseconds(900));
  EXPECT_EQ(idle, 2);
}

}  // namespace
}  // namespace moxie::server

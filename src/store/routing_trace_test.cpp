#include "store/routing_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "store/trace_writer.h"

namespace moxie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kHeader = "# moxie-trace 1 layers=3 experts=8 top_k=2\n";

RoutingTrace sound(const std::string& text) {
  auto trace = parse_routing_trace(text, "t.trace");
  EXPECT_TRUE(trace.ok()) << trace.error().message;
  return trace.ok() ? std::move(*trace) : RoutingTrace{};
}

Error broken(const std::string& text) {
  const auto trace = parse_routing_trace(text, "t.trace");
  EXPECT_FALSE(trace.ok()) << text;
  return trace.ok() ? Error{} : trace.error();
}

std::vector<int32_t> ids(const RoutingTrace& trace, size_t event) {
  const auto found = trace.ids(trace.events[event]);
  return {found.begin(), found.end()};
}

TEST(RoutingTrace, ReadsItsOwnForm) {
  const RoutingTrace trace = sound(kHeader + "0\tp\t0\t1,3,7\n0\td\t0\t7,1\n12\td\t2\t0\n");
  EXPECT_EQ(trace.shape, (TraceShape{3, 8, 2}));
  ASSERT_EQ(trace.events.size(), 3u);
  EXPECT_EQ(trace.events[0].kind, EventKind::prefill);
  EXPECT_EQ(trace.events[1].kind, EventKind::decode);
  EXPECT_EQ(trace.events[2].step, 12);
  EXPECT_EQ(trace.events[2].layer, 2);
  EXPECT_THAT(ids(trace, 0), ElementsAre(1, 3, 7));
  EXPECT_THAT(ids(trace, 1), ElementsAre(7, 1));
  EXPECT_TRUE(sound(kHeader).events.empty());
}

TEST(RoutingTrace, ErrorsNameLineValueLimitAndRemedy) {
  struct Case {
    std::string text, message;
  };
  const std::string good = kHeader + "0\td\t0\t7,1\n";
  for (const Case& bad : std::vector<Case>{
           {"", "t.trace: is no routing trace: its first line is '', not '# moxie-trace 1 layers=L experts=E top_k=K'"},
           {"GGUF", "is no routing trace: its first line is 'GGUF'"},
           {"# notes\n", "is no routing trace: its first line is '# notes'"},
           {"# moxie-trace 1 layers=3 experts=8", "line 1: ends without a newline"},
           {"# moxie-trace 1 layers=3 experts=8\n", "line 1: the header does not say top_k="},
           {"# moxie-trace 1 layers=0 experts=8 top_k=2\n", "line 1: layers=0 is no number from 1 to 4096"},
           {"# moxie-trace 1 layers=4096 experts=1000 top_k=2\n", "experts=1000 is no number from 1 to 256"},
           {"# moxie-trace 1 layers=1 experts=99999999999999999999 top_k=2\n", "is no number from 1 to 65536"},
           {"# moxie-trace 1 layers=1 experts=8 top_k=9\n", "top_k=9 is no number from 1 to 8"},
           {good + "0\td\t0\n", "t.trace, line 3: '0\\x09d\\x090' has 3 fields instead of 4"},
           {good + "\n", "line 3: '' has 1 fields instead of 4"},
           {good + "-1\td\t0\t1\n", "line 3: step '-1' is no number from 0"},
           {good + "0\tx\t0\t1\n", "line 3: kind 'x' is neither p (prompt) nor d (decode)"},
           {good + "0\td\t3\t1\n", "line 3: layer '3' is none of 0 to 2"},
           {good + "0\td\t0\t8\n", "line 3: expert '8' of layer 0 is none of 0 to 7"},
           {good + "0\td\t0\t1,,2\n", "line 3: expert '' of layer 0"},
           {good + "0\td\t0\t1,2,\n", "line 3: the ids end with a comma"},
           {good + "0\td\t0\t\n", "line 3: the event has no experts"},
           {good + "0\td\t0\t3,3\n", "line 3: expert 3 stands twice in layer 0"},
           {good + "0\tp\t0\t3,2\n", "line 3: the experts of a prompt are not in ascending order"},
           {good + "0\td\t0\t1,2", "line 3: ends without a newline, the recording was cut"},
           {good + kHeader, "line 3: is a second header"},
       }) {
    const Error error = broken(bad.text);
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_THAT(error.message, HasSubstr(bad.message)) << bad.text;
  }
  const Error version = broken("# moxie-trace 2 layers=3 experts=8 top_k=2\n");
  EXPECT_EQ(version.code, ErrorCode::unsupported);
  EXPECT_THAT(version.message, HasSubstr("is a trace of version 2; this program reads version 1"));
  const auto absent = read_routing_trace("absent.trace");
  EXPECT_EQ(absent.error().code, ErrorCode::not_found);
}

TEST(RoutingTrace, ReadsGroupsOfBase32Digits) {
  const std::string header = "# model=m layers=2 experts=32 top_k=3 phase=decode\n";
  const RoutingTrace trace = sound(header + "v01 9ab\t\"a\\tb\"\n012 345\t\"x\"\n");
  ASSERT_EQ(trace.events.size(), 4u);
  EXPECT_THAT(ids(trace, 0), ElementsAre(31, 0, 1));
  EXPECT_THAT(ids(trace, 1), ElementsAre(9, 10, 11));
  EXPECT_EQ(trace.events[3].step, 1);
  EXPECT_EQ(trace.events[3].layer, 1);
  EXPECT_EQ(trace.events[3].kind, EventKind::decode);
  EXPECT_THAT(broken(header + "v01\t\"a\"\n").message, HasSubstr("line 2: layer 1 has '' instead of 3 base-32 digits"));
  EXPECT_THAT(broken(header + "v01 9ab 123\t\"a\"\n").message, HasSubstr("line 2: has more than the 2 groups"));
  EXPECT_THAT(broken(header + "v01 9aw\t\"a\"\n").message,
              HasSubstr("line 2: expert 'w' of layer 1 is none of 0 to 31"));
  EXPECT_THAT(broken(header + "v01 9a9\t\"a\"\n").message, HasSubstr("line 2: expert 9 stands twice"));
  EXPECT_EQ(broken("# model=m layers=2 experts=33 top_k=3\nv01 9ab\t\n").code, ErrorCode::unsupported);
}

TEST(RoutingTrace, ReadsCellsWithLostRecords) {
  const std::string header = "# model=a b (c) layers=2 experts=8 top_k=2 alignment=exact\n";
  const RoutingTrace trace = sound(header + "p 52:778 10:990\np 27:800 ..:...\nd 70:501 ..:...\nd 07:1000 34:500\n");
  EXPECT_EQ(trace.lost, 2u);
  ASSERT_EQ(trace.events.size(), 5u);
  // The prompt is one event a layer, as an engine computes it.
  EXPECT_EQ(trace.events[0].kind, EventKind::prefill);
  EXPECT_THAT(ids(trace, 0), ElementsAre(2, 5, 7));
  EXPECT_THAT(ids(trace, 1), ElementsAre(0, 1));
  EXPECT_EQ(trace.events[2].kind, EventKind::decode);
  EXPECT_EQ(trace.events[2].step, 1);
  EXPECT_THAT(ids(trace, 2), ElementsAre(7, 0));
  EXPECT_THAT(ids(trace, 3), ElementsAre(0, 7));
  EXPECT_THAT(ids(trace, 4), ElementsAre(3, 4));
  EXPECT_EQ(trace.events[4].step, 2);
  EXPECT_THAT(broken(header + "d 52:778\n").message, HasSubstr("line 2: layer 1 has '' instead of 2 digits, a colon"));
  EXPECT_THAT(broken(header + "d 52:778 11:600\n").message, HasSubstr("line 2: expert 1 stands twice in layer 1"));
  EXPECT_THAT(broken(header + "d 52:778 19:600\n").message, HasSubstr("expert '9' of layer 1 is none of 0 to 7"));
  EXPECT_THAT(broken(header + "d 52:778 1.:600\n").message,
              HasSubstr("line 2: layer 1 has '1.:600' instead of 2 digits"));
  EXPECT_THAT(broken(header + "d 52:778 12:600 34:500\n").message, HasSubstr("line 2: has more than the 2 cells"));
  EXPECT_THAT(broken(header + "d 52:778 12:600\nx 52:778 12:600\n").message, HasSubstr("line 3: kind 'x'"));
}

TEST(TraceWriter, WritesWhatTheReaderReads) {
  const std::string path = testing::TempDir() + "/written.trace";
  const TraceShape shape{40, 64, 6};
  std::mt19937 random(7);
  std::vector<std::vector<int32_t>> written;
  {
    auto writer = TraceWriter::create(path, shape);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (int event = 0; event < 20000; ++event) {  // several buffers
      std::vector<int32_t> chosen(64);
      std::iota(chosen.begin(), chosen.end(), 0);
      std::shuffle(chosen.begin(), chosen.end(), random);
      const bool prompt = event % 100 < 40;
      chosen.resize(prompt ? 1 + random() % 64 : 6);
      if (prompt) std::sort(chosen.begin(), chosen.end());
      writer->record(event / 40, prompt ? EventKind::prefill : EventKind::decode, event % 40, chosen);
      written.push_back(chosen);
    }
    const auto finished = writer->finish();
    ASSERT_TRUE(finished.ok()) << finished.error().message;
  }
  const auto trace = read_routing_trace(path);
  ASSERT_TRUE(trace.ok()) << trace.error().message;
  EXPECT_EQ(trace->shape, shape);
  ASSERT_EQ(trace->events.size(), written.size());
  for (size_t i = 0; i < written.size(); ++i) {
    ASSERT_EQ(ids(*trace, i), written[i]);
    ASSERT_EQ(trace->events[i].step, static_cast<int64_t>(i) / 40);
    ASSERT_EQ(trace->events[i].layer, static_cast<int32_t>(i % 40));
    ASSERT_EQ(trace->events[i].kind, i % 100 < 40 ? EventKind::prefill : EventKind::decode);
  }
}

TEST(TraceWriter, KeepsWhatIsBufferedWhenItIsNotFinished) {
  const std::string path = testing::TempDir() + "/dropped.trace";
  {
    auto writer = TraceWriter::create(path, {2, 8, 2});
    ASSERT_TRUE(writer.ok());
    writer->record(3, EventKind::decode, 1, std::vector<int32_t>{4, 2});
  }
  const auto trace = read_routing_trace(path);
  ASSERT_TRUE(trace.ok()) << trace.error().message;
  EXPECT_THAT(ids(*trace, 0), ElementsAre(4, 2));
}

TEST(TraceWriter, ReportsAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  auto writer = TraceWriter::create("/dev/full", {2, 8, 2});
  ASSERT_TRUE(writer.ok());
  for (int i = 0; i < 100000; ++i) writer->record(i, EventKind::decode, 1, std::vector<int32_t>{4, 2});
  const auto flushed = writer->flush();
  ASSERT_FALSE(flushed.ok());
  EXPECT_EQ(flushed.error().code, ErrorCode::io);
  EXPECT_THAT(flushed.error().message,
              HasSubstr("/dev/full: the routing trace ends after about 0 events: No space left"));
  EXPECT_EQ(writer->finish().error().message, flushed.error().message);
  EXPECT_EQ(TraceWriter::create("/absent/folder/t.trace", {2, 8, 2}).error().code, ErrorCode::io);
}

}  // namespace
}  // namespace moxie

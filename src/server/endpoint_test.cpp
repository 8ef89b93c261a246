#include "server/endpoint.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "support/paths.h"

namespace moxie::server {
namespace {

std::vector<std::string> paths_of(const EndpointEntry& entry) {
  std::vector<std::string> paths;
  std::istringstream in{std::string(entry.paths)};
  for (std::string path; in >> path;) paths.push_back(path);
  return paths;
}

TEST(Endpoints, EachIsCompleteAndDocumented) {
  std::ifstream in(source_dir() + "/docs/server.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  ASSERT_FALSE(page.empty());
  std::set<std::string> seen;
  for (const EndpointEntry* entry : endpoint_entries()) {
    EXPECT_FALSE(entry->name.empty());
    EXPECT_FALSE(entry->summary.empty()) << entry->name;
    EXPECT_NE(entry->answer == nullptr, entry->handle == nullptr) << entry->name;
    EXPECT_TRUE(entry->method == "GET" || entry->method == "POST") << entry->name;
    ASSERT_FALSE(paths_of(*entry).empty()) << entry->name;
    for (const std::string& path : paths_of(*entry)) {
      EXPECT_TRUE(seen.insert(std::string(entry->method) + " " + path).second) << path << " stands twice";
      EXPECT_NE(page.find("`" + std::string(entry->method) + " " + path + "`"), std::string::npos)
          << "docs/server.md does not name " << entry->method << " " << path;
    }
  }
}

TEST(Endpoints, AreFoundByMethodAndPath) {
  for (const EndpointEntry* entry : endpoint_entries()) {
    for (std::string path : paths_of(*entry)) {
      if (path.ends_with("{id}")) path.replace(path.size() - 4, 4, "x");
      EXPECT_EQ(find_endpoint(entry->method, path).entry, entry) << path;
      const Route other = find_endpoint("PATCH", path);
      EXPECT_EQ(other.entry, nullptr);
      EXPECT_TRUE(other.other_method) << path;
    }
  }
  EXPECT_NE(find_endpoint("HEAD", "/health").entry, nullptr);
  EXPECT_NE(find_endpoint("GET", "/v1/models/").entry, nullptr);
  for (const char* path : {"", "/nothing", "/v1", "/v1/models/a/b", "/health/x", "health"}) {
    EXPECT_EQ(find_endpoint("GET", path).entry, nullptr) << path;
    EXPECT_FALSE(find_endpoint("GET", path).other_method) << path;
  }
}

}  // namespace
}  // namespace moxie::server

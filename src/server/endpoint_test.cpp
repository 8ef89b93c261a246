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
    EXPECT_EQ((entry->look != nullptr) + (entry->answer != nullptr) + (entry->handle != nullptr), 1) << entry->name;
    EXPECT_TRUE(!entry->immediate || entry->look != nullptr) << entry->name;
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
      if (path.ends_with("}")) path.replace(path.rfind('{'), std::string::npos, "x");
      EXPECT_EQ(find_endpoint(entry->method, path).entry, entry) << path;
      const Route other = find_endpoint("PATCH", path);
      EXPECT_EQ(other.entry, nullptr);
      EXPECT_TRUE(other.other_method) << path;
    }
  }
  EXPECT_NE(find_endpoint("HEAD", "/health").entry, nullptr);
  EXPECT_NE(find_endpoint("GET", "/v1/models/").entry, nullptr);
  EXPECT_EQ(find_endpoint("GET", "/v1/models/hf:org/name").entry->name, "model");
  EXPECT_EQ(last_part("/v1/models/{name}", "/v1/models/hf:org/name"), "hf:org/name");
  for (const char* path : {"", "/nothing", "/v1", "/slots/a/b", "/health/x", "health"}) {
    EXPECT_EQ(find_endpoint("GET", path).entry, nullptr) << path;
    EXPECT_FALSE(find_endpoint("GET", path).other_method) << path;
  }
}

}  // namespace
}  // namespace moxie::server

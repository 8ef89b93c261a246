// The Hugging Face hub as it lies on this machine: settings, how a model is named, and the layout of the cache that is
// shared with Python's huggingface_hub. Reads and names only; pull.h writes. Plain data and functions, thread-safe.
//
//   <cache>/models--org--name/refs/main                    the commit, 40 hexadecimal digits
//   <cache>/models--org--name/snapshots/<commit>/<path>    a link to ../../blobs/<etag>
//   <cache>/models--org--name/blobs/<etag>                 content; <etag>.incomplete while it comes
//   <cache>/.locks/models--org--name/<etag>.lock           held (flock) while it comes
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http_client.h"
#include "moxie/error.h"

namespace moxie {

// "hf:org/name@revision:file", each but the name optional. `file` may be a path in the repository, a quantization
// ("Q4_K_M") or a pattern.
struct HubReference {
  std::string repo;
  std::string revision;  // empty: main
  std::string file;

  std::string revision_or_main() const { return revision.empty() ? "main" : revision; }
  std::string text() const;  // with "hf:"
};

bool is_hub_reference(std::string_view text);  // does it begin with "hf:"?
// With or without "hf:", or as the address of a page of the hub ("https://huggingface.co/org/name/blob/main/x.gguf").
// Errors: invalid_argument for what can be no name.
Result<HubReference> parse_hub_reference(std::string_view text);

using Variables = std::function<const char*(const char* name)>;  // a variable's value, or null

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // no slash at its end
  std::string token;                                // may be empty
  std::string cache;                                // the folder that holds models--*
  bool offline = false;
  TrustedCertificates trusted = {};
};
// What HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME, HF_HUB_OFFLINE and their elder
// names say, and trusted_certificates(). The token may come from a file.
HubSettings hub_settings(const Variables& variable);
// What REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR say: those of Python's hub, curl and OpenSSL.
TrustedCertificates trusted_certificates(const Variables& variable);

bool is_commit(std::string_view revision);  // 40 hexadecimal digits
// May a path from a server be joined to a folder? Not "..", not absolute, no backslash or control character.
bool is_safe_repo_path(std::string_view path);
bool is_safe_etag(std::string_view etag);

class HubCache {
 public:
  explicit HubCache(std::string folder) : folder_(std::move(folder)) {}
  const std::string& folder() const { return folder_; }

  std::string repo_folder(std::string_view repo) const;
  std::string blob(std::string_view repo, std::string_view etag) const;
  std::string lock(std::string_view repo, std::string_view etag) const;
  std::string ref(std::string_view repo, std::string_view revision) const;
  std::string snapshot(std::string_view repo, std::string_view commit) const;

  // The commit that a revision stands for here; nothing where that is unknown.
  std::optional<std::string> commit_of(std::string_view repo, std::string_view revision) const;
  // Paths in a snapshot, sorted. Empty where there is none.
  std::vector<std::string> files(std::string_view repo, std::string_view commit) const;

 private:
  std::string folder_;
};

}  // namespace moxie

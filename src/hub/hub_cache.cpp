#include "hub/hub_cache.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"
#include "core/replace_file.h"

namespace moxie {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kScheme = "hf:";
constexpr size_t kTokenBytesMax = 4096, kRefBytesMax = 256, kNameBytesMax = 96;

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kBlanks) - first + 1));
}

bool is_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), plain) &&
         name.front() != '.' && name.front() != '-' && name.find("..") == std::string_view::npos &&
         name.find("--") == std::string_view::npos;
}

bool is_repo(std::string_view repo) {
  const size_t slash = repo.find('/');
  if (slash == std::string_view::npos) return is_name(repo);
  return is_name(repo.substr(0, slash)) && is_name(repo.substr(slash + 1));
}

// "org/name/blob/main/path" of a page's address, as a reference.
HubReference from_page(std::string_view path) {
  HubReference reference;
  path = path.substr(0, path.find_first_of("?#"));
  const size_t slash = path.find('/');
  const size_t next = slash == std::string_view::npos ? slash : path.find('/', slash + 1);
  reference.repo = path.substr(0, next);
  if (next == std::string_view::npos) return reference;
  std::string_view rest = path.substr(next + 1);
  for (const std::string_view kind : {"blob/", "resolve/", "tree/"}) {
    if (!rest.starts_with(kind)) continue;
    rest.remove_prefix(kind.size());
    const size_t end = rest.find('/');
    reference.revision = rest.substr(0, end);
    if (end != std::string_view::npos) reference.file = rest.substr(end + 1);
    break;
  }
  return reference;
}

// The first of these variables that says something.
std::string first_of(const Variables& variable, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = variable(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

bool is_true(const char* value) {
  if (value == nullptr) return false;
  std::string text(value);
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

}  // namespace

std::string HubReference::text() const {
  return fmt::format("{}{}{}{}{}{}", kScheme, repo, revision.empty() ? "" : "@", revision, file.empty() ? "" : ":",
                     file);
}

bool is_hub_reference(std::string_view text) {
  return text.starts_with(kScheme);
}

Result<HubReference> parse_hub_reference(std::string_view text) {
  const std::string given = printable(text);
  HubReference reference;
  if (text.starts_with("https://") || text.starts_with("http://")) {
    const size_t host = text.find("://") + 3, slash = text.find('/', host);
    reference = from_page(slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1));
  } else {
    if (text.starts_with(kScheme)) text.remove_prefix(kScheme.size());
    if (text.starts_with("//")) text.remove_prefix(2);
    // The file begins at the first colon; the revision, which stands before it, may hold slashes.
    const size_t colon = text.find(':');
    if (colon != std::string_view::npos) {
      reference.file = text.substr(colon + 1);
      text = text.substr(0, colon);
    }
    const size_t at = text.find('@');
    if (at != std::string_view::npos) {
      reference.revision = text.substr(at + 1);
      text = text.substr(0, at);
    }
    while (text.ends_with('/')) text.remove_suffix(1);
    reference.repo = text;
  }
  if (!is_repo(reference.repo)) {
    return fail(ErrorCode::invalid_argument,
                "'{}' names no repository of the hub; write ORG/NAME, ORG/NAME@REVISION or ORG/NAME:FILE", given);
  }
  // Git allows no colon in a name of a revision, and here one would begin the file.
  const bool has_colon = reference.revision.find(':') != std::string::npos;
  if (!reference.revision.empty() && (has_colon || !is_safe_repo_path(reference.revision)))
    return fail(ErrorCode::invalid_argument, "'{}': '{}' is no revision", given, printable(reference.revision));
  if (!reference.file.empty() && !is_safe_repo_path(reference.file))
    return fail(ErrorCode::invalid_argument, "'{}': '{}' is no file of a repository", given, printable(reference.file));
  return reference;
}

HubSettings hub_settings(const Variables& variable) {
  const auto first = [&](std::initializer_list<const char*> names) { return first_of(variable, names); };
  const auto folder = [&](std::string path) {  // "~" is the shell's, but settings are not always read by one
    if (path == "~" || path.starts_with("~/")) path = first({"HOME"}) + path.substr(1);
    return path;
  };
  HubSettings settings;
  if (std::string endpoint = first({"HF_ENDPOINT"}); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    settings.endpoint = endpoint;
  }
  std::string home = folder(first({"HF_HOME"}));
  if (home.empty()) {
    const std::string caches = folder(first({"XDG_CACHE_HOME"}));
    home = join_path(caches.empty() ? join_path(first({"HOME"}), ".cache") : caches, "huggingface");
  }
  settings.cache = folder(first({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}));
  if (settings.cache.empty()) settings.cache = join_path(home, "hub");
  settings.token = trimmed(first({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  if (settings.token.empty()) {
    const std::string path = folder(first({"HF_TOKEN_PATH"}));
    if (auto text = read_small_file(path.empty() ? join_path(home, "token") : path, kTokenBytesMax); text.ok())
      settings.token = trimmed(*text);
  }
  // A token is one word; anything else would become headers of its own.
  if (settings.token.find_first_of(" \t\r\n") != std::string::npos) settings.token.clear();
  settings.offline = is_true(variable("HF_HUB_OFFLINE")) || is_true(variable("TRANSFORMERS_OFFLINE"));
  settings.trusted = trusted_certificates(variable);
  return settings;
}

TrustedCertificates trusted_certificates(const Variables& variable) {
  TrustedCertificates trusted{.file = first_of(variable, {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}),
                              .folder = first_of(variable, {"SSL_CERT_DIR"})};
  // requests takes a folder there, too.
  if (is_folder(trusted.file)) trusted.folder = std::exchange(trusted.file, {});
  return trusted;
}

bool is_commit(std::string_view revision) {
  return revision.size() == 40 && is_lower_hex(revision);
}

bool is_safe_repo_path(std::string_view path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/') return false;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '\\') return false;
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool is_safe_etag(std::string_view etag) {
  return !etag.empty() && etag.size() <= 128 && etag.front() != '.' &&
         std::all_of(etag.begin(), etag.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

namespace {

std::string folder_name(std::string_view repo) {
  std::string name = "models--";
  for (const char c : repo) name += c == '/' ? std::string("--") : std::string(1, c);
  return name;
}

}  // namespace

std::string HubCache::repo_folder(std::string_view repo) const {
  return join_path(folder_, folder_name(repo));
}

std::string HubCache::blob(std::string_view repo, std::string_view etag) const {
  return join_path(join_path(repo_folder(repo), "blobs"), etag);
}

std::string HubCache::lock(std::string_view repo, std::string_view etag) const {
  return join_path(join_path(join_path(folder_, ".locks"), folder_name(repo)), std::string(etag) + ".lock");
}

std::string HubCache::ref(std::string_view repo, std::string_view revision) const {
  return join_path(join_path(repo_folder(repo), "refs"), revision);
}

std::string HubCache::snapshot(std::string_view repo, std::string_view commit) const {
  return join_path(join_path(repo_folder(repo), "snapshots"), commit);
}

std::optional<std::string> HubCache::commit_of(std::string_view repo, std::string_view revision) const {
  if (is_commit(revision)) return std::string(revision);
  if (!is_safe_repo_path(revision)) return std::nullopt;
  const auto text = read_small_file(ref(repo, revision), kRefBytesMax);
  if (!text.ok()) return std::nullopt;
  std::string commit = trimmed(*text);
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

std::vector<std::string> HubCache::files(std::string_view repo, std::string_view commit) const {
  const fs::path root(snapshot(repo, commit));
  std::vector<std::string> names;
  std::error_code error;
  fs::recursive_directory_iterator entry(root, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) names.push_back(entry->path().lexically_relative(root).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace moxie

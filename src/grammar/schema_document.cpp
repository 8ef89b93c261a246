#include "grammar/schema_document.h"

#include <charconv>

#include "core/fail.h"

namespace moxie::grammar {
namespace {

bool has_scheme(std::string_view uri) {
  const size_t colon = uri.find(':');
  return colon != std::string_view::npos && colon > 1 && uri.substr(0, colon).find('/') == std::string_view::npos;
}

// RFC 3986 as far as schemas need it.
std::string join(const std::string& base, std::string_view ref) {
  if (ref.empty()) return base;
  if (has_scheme(ref)) return std::string(ref);
  const size_t authority = base.find("://");
  const size_t path = authority == std::string::npos ? 0 : base.find('/', authority + 3);
  if (ref[0] == '/') return (path == std::string::npos ? base : base.substr(0, path)) + std::string(ref);
  const size_t slash = base.rfind('/');
  if (slash == std::string::npos || (authority != std::string::npos && slash < authority + 3)) {
    return authority == std::string::npos ? std::string(ref) : base + "/" + std::string(ref);
  }
  return base.substr(0, slash + 1) + std::string(ref);
}

std::string decode_percent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string decode_pointer_part(std::string_view part) {
  std::string out;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1')) {
      out += part[++i] == '0' ? '~' : '/';
    } else {
      out += part[i];
    }
  }
  return out;
}

const Json* follow(const Json* at, std::string_view pointer) {
  while (!pointer.empty() && at != nullptr) {
    const size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string part = decode_pointer_part(pointer.substr(1, end - 1));
    pointer.remove_prefix(end);
    if (const auto* list = at->array()) {
      size_t index = 0;
      const auto read = std::from_chars(part.data(), part.data() + part.size(), index);
      at = read.ec == std::errc() && read.ptr == part.data() + part.size() && index < list->size() ? &(*list)[index]
                                                                                                   : nullptr;
    } else {
      at = at->find(part);
    }
  }
  return at;
}

// Keywords whose value is data, no schema.
bool is_data(std::string_view key) {
  return key == "enum" || key == "const" || key == "default" || key == "examples" || key == "example";
}
// Keywords whose value maps names of any kind to schemas.
bool is_map(std::string_view key) {
  return key == "properties" || key == "patternProperties" || key == "$defs" || key == "definitions" ||
         key == "dependentSchemas" || key == "dependencies";
}

}  // namespace

Result<SchemaDocument> SchemaDocument::parse(std::string_view text) {
  SchemaDocument document;
  MOXIE_TRY(Json root, parse_json(text, "the JSON schema", {.bytes_max = size_t{4} << 20, .values_max = 500'000}));
  document.texts_.push_back(std::move(root));
  const Json& schema = document.root();
  if (const Json* draft = schema.find("$schema"); draft != nullptr && draft->text() != nullptr) {
    for (const std::string_view old : {"draft-03", "draft-04", "draft-05", "draft-06", "draft-07"}) {
      if (draft->text()->find(old) != std::string::npos) document.ref_stands_alone_ = true;
    }
  }
  document.resources_[""] = &schema;
  document.index(schema, "#", "", false, true);
  return document;
}

void SchemaDocument::index(const Json& value, const std::string& pointer, std::string base, bool made, bool is_schema) {
  if (is_schema && !made) {
    const Json* id = value.find("$id");
    if (id == nullptr) id = value.find("id");
    const bool hidden = ref_stands_alone_ && value.find("$ref") != nullptr;
    if (id != nullptr && id->text() != nullptr && !hidden) {
      const std::string_view whole = *id->text();
      const size_t hash = whole.find('#');
      if (hash != 0) {
        base = join(base, whole.substr(0, hash));
        resources_.try_emplace(base, &value);
      }
      if (hash != std::string_view::npos && hash + 1 < whole.size()) {
        anchors_.try_emplace(base + std::string(whole.substr(hash)), &value);
      }
    }
    for (const char* key : {"$anchor", "$dynamicAnchor"}) {
      const Json* anchor = value.find(key);
      if (anchor != nullptr && anchor->text() != nullptr) anchors_.try_emplace(base + "#" + *anchor->text(), &value);
    }
  }
  places_[&value] = {pointer, base, made};
  if (const auto* list = value.array()) {
    for (size_t i = 0; i < list->size(); ++i) {
      index((*list)[i], pointer + "/" + std::to_string(i), base, made, is_schema);
    }
  } else if (const auto* object = value.object()) {
    for (const JsonMember& member : *object) {
      const bool names = is_schema && is_map(member.key);
      if (!names) {
        index(member.value, pointer + "/" + member.key, base, made, is_schema && !is_data(member.key));
        continue;
      }
      places_[&member.value] = {pointer + "/" + member.key, base, made};
      const auto* map = member.value.object();
      if (map == nullptr) continue;
      for (const JsonMember& each : *map) {
        index(each.value, pointer + "/" + member.key + "/" + each.key, base, made, true);
      }
    }
  }
}

Result<const Json*> SchemaDocument::resolve(const Json& from, std::string_view ref) const {
  const Place& place = places_.at(&from);
  const size_t hash = std::min(ref.find('#'), ref.size());
  const std::string base = hash == 0 ? place.base : join(place.base, ref.substr(0, hash));
  const std::string fragment = decode_percent(ref.substr(std::min(hash + 1, ref.size())));
  const Json* found = nullptr;
  if (const auto resource = resources_.find(base); resource != resources_.end()) {
    if (fragment.empty() || fragment[0] == '/') {
      found = follow(resource->second, fragment);
    } else if (const auto anchor = anchors_.find(base + "#" + fragment); anchor != anchors_.end()) {
      found = anchor->second;
    }
  }
  if (found == nullptr || !places_.contains(found)) {
    return fail(ErrorCode::unsupported,
                "JSON schema, {}: $ref '{}' leads outside of the schema; copy what it names into $defs", place.pointer,
                ref);
  }
  return found;
}

const Json* SchemaDocument::add(Json schema, const Json& like) {
  const Place place = places_.at(&like);
  texts_.push_back(std::move(schema));
  index(texts_.back(), place.pointer, place.base, true, true);
  return &texts_.back();
}

std::string SchemaDocument::place(const Json& schema) const {
  return places_.at(&schema).pointer;
}

}  // namespace moxie::grammar

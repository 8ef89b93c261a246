// Under what keys and values are the same to the last bit: the model's weights, the kernels, the kind of cache, the
// rotation of positions. Slot files and the prefixes kept on disk carry it.
#pragma once

#include <string>

#include "engine/engine_impl.h"

namespace moxie {

// 16 hexadecimal digits. Milliseconds: of large weights only the beginnings are looked at, and the files' sizes and
// times of change.
std::string kv_fingerprint(const Engine::Impl& engine);

}  // namespace moxie

// Declares every kernel of kernels.inc for the target being compiled, so that a definition which differs from its
// member of struct Kernels does not compile. For *.simd.cpp files only.
#pragma once

#include "core/simd.h"
#include "kernels/kernels.h"

namespace moxie::MOXIE_TARGET {
namespace {
template <typename T>
struct Pointee;
template <typename T>
struct Pointee<T*> {
  using Type = T;
};
}  // namespace

#define MOXIE_ENTRY(name) Pointee<decltype(Kernels::name)>::Type name;
#include "kernels/kernels.inc"
#undef MOXIE_ENTRY

}  // namespace moxie::MOXIE_TARGET

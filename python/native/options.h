// Options from Python's keyword arguments: the names are the fields' names.
#pragma once

#include <pybind11/pybind11.h>

#include "moxie/options.h"

namespace moxie::python {

// Throws TypeError for an unknown name or a value of another type.
EngineOptions engine_options(const pybind11::dict& given);
SamplingOptions sampling_options(const pybind11::dict& given);

}  // namespace moxie::python

# The Python module moxie._native, for `pip install .` (pyproject.toml). The package around it is python/moxie.
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 2.10 CONFIG REQUIRED)

pybind11_add_module(_native MODULE NO_EXTRAS python/native/module.cpp python/native/options.cpp python/native/chat.cpp
                    python/native/weights.cpp)
target_include_directories(_native PRIVATE src python/native)
target_compile_definitions(_native PRIVATE MOXIE_VERSION="${PROJECT_VERSION}")
target_compile_options(_native PRIVATE -O1 -Wno-missing-field-initializers)  # nothing there is hot; it compiles faster
target_link_libraries(_native PRIVATE moxie fmt::fmt)
set_target_properties(_native PROPERTIES CXX_VISIBILITY_PRESET hidden)
target_link_options(_native PRIVATE -Wl,--exclude-libs,ALL -s)
install(TARGETS _native LIBRARY DESTINATION moxie COMPONENT python)

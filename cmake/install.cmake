# cmake --install: the program, the library with its headers and CMake package (find_package(moxie), target moxie::moxie), and the
# demo model where the program looks for it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(MOXIE_PACKAGE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/moxie)

install(TARGETS moxie EXPORT moxie-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS moxie_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/moxie DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/moxie/models OPTIONAL)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT moxie-targets NAMESPACE moxie:: DESTINATION ${MOXIE_PACKAGE_FOLDER})
configure_package_config_file(cmake/moxie-config.cmake.in ${CMAKE_BINARY_DIR}/moxie-config.cmake
                              INSTALL_DESTINATION ${MOXIE_PACKAGE_FOLDER})
# Before 1.0 a minor version may break: accept the same minor only.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/moxie-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/moxie-config.cmake ${CMAKE_BINARY_DIR}/moxie-config-version.cmake
        DESTINATION ${MOXIE_PACKAGE_FOLDER})

# What `cmake --install` puts where, and the package `lossd` (find_package(lossd)): lossd::client, the C++ SDK;
# lossd::core, the library without a transport; lossd::client_mocks, GoogleMock doubles.
#
#   bin/                    lossd, lossctl
#   lib/                    one static library a layer
#   include/lossd/          the SDK's headers; v1/: the messages; mocks/
#   include/lossd/core/     the library's headers, by the paths they include one another with (lib/...)
#   share/lossd/proto/      the contract
include(CMakePackageConfigHelpers)

add_library(lossd_core INTERFACE)
target_link_libraries(lossd_core INTERFACE lossd_wire)
set_target_properties(lossd_core PROPERTIES EXPORT_NAME core)
set_target_properties(lossd_client PROPERTIES EXPORT_NAME client)
set_target_properties(lossd_client_mocks PROPERTIES EXPORT_NAME client_mocks)
add_library(lossd::core ALIAS lossd_core)
add_library(lossd::client ALIAS lossd_client)
add_library(lossd::client_mocks ALIAS lossd_client_mocks)

get_property(libraries GLOBAL PROPERTY LOSSD_INSTALLED_TARGETS)
install(TARGETS ${libraries} lossd_core lossd_client_mocks lossd_options lossd_simd EXPORT lossdTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS lossctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

install(DIRECTORY ${PROJECT_SOURCE_DIR}/client/cpp/include/lossd ${PROJECT_SOURCE_DIR}/client/cpp/mocks/lossd
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/generated/lossd/v1 DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lossd
  FILES_MATCHING PATTERN "*.pb.h")
# Kernels are compiled here and nowhere else: -inl.h stay behind, and so do the tests' headers.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/lib DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lossd/core
  FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE PATTERN "*_testing.h" EXCLUDE
  PATTERN "*_reference.h" EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/lossd/v1 DESTINATION ${CMAKE_INSTALL_DATADIR}/lossd/proto/lossd)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lossd)
install(EXPORT lossdTargets NAMESPACE lossd:: DESTINATION ${package})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lossdConfig.cmake.in
  ${PROJECT_BINARY_DIR}/lossdConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lossdConfig.cmake ${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake
  DESTINATION ${package})

# Install rules and the CMake package: find_package(frcnn), target frcnn::frcnn.

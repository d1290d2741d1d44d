// The one place where the code of stb_image and stb_image_write is compiled. Formats whose
// recognition is weak (a text file can pass for TGA) or that nobody trains on are left out.
#include "data/decode_memory.h"

#define STBI_MALLOC(size) frcnn::decode_malloc(size)
#define STBI_REALLOC(memory, size) frcnn::decode_realloc(memory, size)
#define STBI_FREE(memory) frcnn::decode_free(memory)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STBI_NO_TGA
#define STBI_NO_PSD
#define STBI_NO_HDR
#define STBI_NO_PIC
#define STBI_NO_LINEAR
#define STBI_FAILURE_USERMSG
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

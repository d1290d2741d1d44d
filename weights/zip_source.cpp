#include "weights/zip_source.h"

namespace frcnn {

void ZipSource::read(uint64_t at, void* out, uint64_t bytes) const {
  if (!reader_ || reader_->position() > at) reader_.emplace(archive_, index_);
  reader_->skip(at - reader_->position());
  reader_->read(out, bytes);
  if (reader_->position() < size_) return;
  verified_ = true;
  reader_.reset();
}

void ZipSource::verify() const {
  if (verified_) return;
  if (!reader_) reader_.emplace(archive_, index_);
  reader_->skip(size_ - reader_->position());
  verified_ = true;
  reader_.reset();
}

}  // namespace frcnn

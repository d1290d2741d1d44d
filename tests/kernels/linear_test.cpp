#include "kernels/linear/linear.h"

#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEST_CASE("linear plans: forward and both backwards equal the float64 reference") {
  for (const auto& [rows, in, out] : {std::tuple<int64_t, int64_t, int64_t>{1, 7, 5},
                                      {33, 250, 64},
                                      {128, 49, 21},
                                      {300, 64, 84}}) {
    for (const bool relu : {false, true}) {
      LinearParams p{rows, in, out, true, relu};
      INFO(rows << " x " << in << " to " << out << " relu " << relu);
      const auto size = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
      const auto x = random_vector<double>(size(rows, in), -1, 1, 1);
      const auto w = random_vector<double>(size(out, in), -1, 1, 2);
      const auto b = random_vector<double>(size(out, 1), -1, 1, 3);
      const auto g = random_vector<double>(size(rows, out), -1, 1, 4);
      const auto f32 = [](const std::vector<double>& v) {
        return std::vector<float>(v.begin(), v.end());
      };
      const auto x4 = f32(x), w4 = f32(w), b4 = f32(b), g4 = f32(g);

      std::vector<double> y(g.size()), dx(x.size()), dw(w.size()), db(b.size());
      cpu::linear_forward_reference(p, x.data(), w.data(), b.data(), y.data());
      cpu::linear_backward_data_reference(p, g.data(), w.data(), dx.data());
      cpu::linear_backward_weights_reference(p, x.data(), g.data(), dw.data(), db.data());

      using Pass = LayerPass;
      for (const Pass pass : {Pass::forward_inference, Pass::forward_training}) {
        const auto plan = cpu::linear_plan(p, pass);
        std::vector<float> packed(plan->packed_weight_bytes() / 4 + 16),
            scratch(plan->scratch_bytes() / 4 + 16);
        plan->pack_weights(w4.data(), packed.data());
        GuardedBuffer<float> result(y.size());
        plan->forward(x4.data(), packed.data(), b4.data(), result.data(), scratch.data());
        FRCNN_CHECK_SAME(result.span(), f32(y), 1e-4, 1e-4);
        CHECK(result.guards_intact());
      }
      const auto data = cpu::linear_plan(p, Pass::backward_data);
      const auto weights = cpu::linear_plan(p, Pass::backward_weights);
      std::vector<float> scratch(std::max(data->scratch_bytes(), weights->scratch_bytes()) / 4 +
                                 16);
      GuardedBuffer<float> dx4(dx.size()), dw4(dw.size()), db4(db.size());
      data->backward_data(g4.data(), w4.data(), dx4.data(), scratch.data());
      weights->backward_weights(x4.data(), g4.data(), dw4.data(), db4.data(), nullptr,
                                scratch.data());
      FRCNN_CHECK_SAME(dx4.span(), f32(dx), 1e-4, 1e-4);
      FRCNN_CHECK_SAME(dw4.span(), f32(dw), 1e-4, 1e-4);
      FRCNN_CHECK_SAME(db4.span(), f32(db), 1e-4, 1e-4);
      CHECK((dx4.guards_intact() && dw4.guards_intact() && db4.guards_intact()));
    }
  }
}

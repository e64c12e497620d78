// One step for which W_aa a<t-1> has been computed: for shapes that no other kernel takes.
//
// Launch: a thread for each element of a state.  inputs may be states.
KERNEL finish_step(PARAMETERS, const real* product, int step) {
  const Walk walk = ARGUMENTS;
  const long long i = (long long)block_index() * THREADS + thread_index();
  if (i >= (long long)walk.batch * walk.size) return;
  const int b = int(i / walk.size), row = int(i % walk.size), t = time_of(walk, step);
  const real* previous = step ? walk.states + place(walk, time_of(walk, step - 1), 0) : walk.h_0;
  const real before = previous[i];
  real a = before;
  if (t < length_of(walk, b)) {
    const real z = product[i] + (input_at(walk, t, b, row) + (walk.bias ? walk.bias[row] : 0));
    a = next_state(walk, z, before);
  }
  walk.states[place(walk, t, 0) + i] = a;
}

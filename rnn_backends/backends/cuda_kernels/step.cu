// One step for which W_aa a<t-1> has been computed: for shapes that no other kernel takes.
//
// Launch: a thread for each element of the states h (directions, batch, size), which become those after the step.
// inputs may be states.
KERNEL finish_step(const Walk all, const real* product, real* h) {
  const long long i = (long long)block_index() * THREADS + thread_index(), each = (long long)all.batch * all.size;
  if (i >= each * DIRECTIONS) return;
  const Walk walk = walk_of(all, int(i / each));
  const int b = int(i % each / walk.size), row = int(i % walk.size);
  const int t = time_of(walk, walk.begin), end = length_of(walk, b);
  const real* bias = walk.cells[0].bias;
  real z = 0;
  if (t < end) z = product[i] + (input_at(walk, t, b, row, id_at(walk, t, b)) + (bias ? bias[row] : 0));
  const real a = advanced(walk, t, b, row, end, z, h[i]);
  h[i] = a;
  walk.states[place(walk, t, b) + row] = t < end ? word_of(a) : 0;
}

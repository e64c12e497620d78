/* The record of an instruction set. */

static size_t scratch(const walk *w, int is_double) {
    return is_double ? scratch_double(w) : scratch_float(w);
}

const kernel KERNEL = {
    .runs = runs,
    .lanes = {lanes_float, lanes_double},
    .gathers = {gathers_float, gathers_double},
    .packed_size = {packed_size_float, packed_size_double},
    .pack = {pack_float, pack_double},
    .panels = {panels_float, panels_double},
    .steps_at_once = steps_at_once,
    .scratch = scratch,
    .walk_steps = {walk_steps_float, walk_steps_double},
    .project_panels = {project_panels_float, project_panels_double},
    .step_panels = {step_panels_float, step_panels_double},
    .join_panels = {join_panels_float, join_panels_double},
};

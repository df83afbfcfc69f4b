//! The sums of a head's stretches become one: each is brought to what the greatest score of all is
//! relative to. No key is met here.

use super::super::lanes::{Lanes, per_isa};
use super::super::memory::lent;
use super::Task;
use super::softmax::Sum;

per_isa! {
    /// Joins the stretches of each head.
    fn join(task: &Task<'_>, stretches: usize, parts: *const f32, out: *mut f32) = join_of
}

#[inline(always)]
unsafe fn join_of<L: Lanes>(task: &Task<'_>, stretches: usize, parts: *const f32, out: *mut f32) {
    let (group, width) = (task.group(), task.vectors() * 16);
    let mut room = lent(width * 4);
    // SAFETY: there are so many bytes, and any of them are numbers.
    let sums = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<f32>(), width) };
    for index in 0..task.batch * task.heads {
        let (kv, g) = (index / group, index % group);
        let whole = Sum::new(task, index % task.heads);
        // SAFETY: the caller's: every piece is there.
        unsafe {
            let part = |stretch| parts.add((kv * stretches + stretch) * group * (width + 2));
            let sum = |stretch| *part(stretch).add(group * width).cast::<Sum>().add(g);
            let greatest = (0..stretches).map(|s| sum(s).greatest).fold(whole.greatest, f32::max);
            let mut total = whole.total * (whole.greatest - greatest).exp();
            sums.fill(0.0);
            for stretch in 0..stretches {
                let Sum { greatest: own, total: count } = sum(stretch);
                let factor = (own - greatest).exp();
                total += count * factor;
                let from = part(stretch).add(g * width);
                for at in (0..width).step_by(16) {
                    let to = sums.as_mut_ptr().add(at);
                    let sum = L::fma(L::load(from.add(at)), L::splat(factor), L::load(to));
                    L::store(to, sum);
                }
            }
            for (i, sum) in sums.iter().take(task.head_dim).enumerate() {
                out.add(index * task.head_dim + i).write(sum / total);
            }
        }
    }
}

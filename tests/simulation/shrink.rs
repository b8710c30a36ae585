//! Making a history that fails smaller.

/// These steps without those that don't matter to `fails`, which holds for all of them.
pub fn fewest_steps<S: Clone>(steps: Vec<S>, fails: impl Fn(&[S]) -> bool) -> Vec<S> {
    let mut fewest = steps;
    let mut chunk = fewest.len();
    while chunk > 0 {
        let mut start = 0;
        while start < fewest.len() {
            let end = fewest.len().min(start + chunk);
            let mut fewer = fewest.clone();
            fewer.drain(start..end);
            if fails(&fewer) {
                fewest = fewer;
            } else {
                start = end;
            }
        }
        chunk /= 2;
    }
    fewest
}

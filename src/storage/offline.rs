//! Storage without a loop: for the command line while the server does not run.

use super::{Engine, FetchId, Miss, Store, StoreError, Woken, pump};

/// Runs `handler` as the server would, from its top after each miss, and returns when what it wrote
/// is on disk. Blocks.
///
/// # Errors
///
/// The first fault of the engine. What was written is then durable whole or not at all.
pub fn run<T>(engine: &mut dyn Engine, handler: impl FnMut(&mut Store) -> Result<T, Miss>) -> Result<T, StoreError> {
    run_on(&mut Store::default(), engine, handler)
}

/// The same with a store of the caller's, such as one with more room.
///
/// # Errors
///
/// As for [`run`].
pub fn run_on<T>(
    store: &mut Store,
    engine: &mut dyn Engine,
    mut handler: impl FnMut(&mut Store) -> Result<T, Miss>,
) -> Result<T, StoreError> {
    let mut parked = None;
    loop {
        match parked {
            Some(id) => store.resume(id),
            None => store.begin(),
        }
        match handler(store) {
            Ok(answer) => {
                store.finish();
                step(store, engine)?;
                return Ok(answer);
            }
            Err(miss) => {
                let id = store.abandon(miss);
                parked = Some(id);
                // Many rows take more than one fetch.
                while !step(store, engine)?.contains(&id) {}
            }
        }
    }
}

/// One end of tick; an engine on the spot leaves nothing under way. Returns whose rows are all there.
fn step(store: &mut Store, engine: &mut dyn Engine) -> Result<Vec<FetchId>, StoreError> {
    let mut woken = Woken::default();
    pump(store, engine, 0, &mut woken);
    woken.faults.pop().map_or(Ok(woken.ready), Err)
}

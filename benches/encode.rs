//! Rows a second through the base encoder, as statements come and enriched. Needs `txcat models pull`.

use divan::{Bencher, counter::ItemsCount};
use txcat::{
    config,
    model::{BaseEncoder, Encoder},
};

fn main() {
    divan::main();
}

const ROWS: usize = 64;

#[divan::bench(args = ["tim hortons, paid 8.4 cad", "tim hortons, paid 8.4 cad; tim hortons, cafe; 12 before, about 7.9 cad, restaurants; account: restaurants, groceries"])]
fn embed(bencher: Bencher, text: &str) {
    let encoder_dir = std::env::var_os("TXCAT_ENCODER_DIR").map(Into::into);
    let models = config::Models { dir: "models".into(), encoder: None, encoder_dir };
    let (Ok(base), Ok(runtime)) = (BaseEncoder::locate(&models), tokio::runtime::Runtime::new()) else {
        eprintln!("the base encoder is absent: run `txcat models pull`");
        return;
    };
    let Ok(encoder) = Encoder::load(base) else { return };
    let texts = vec![text.to_owned(); ROWS];
    bencher.counter(ItemsCount::new(ROWS)).bench(|| runtime.block_on(encoder.embed(texts.clone())).is_ok());
}

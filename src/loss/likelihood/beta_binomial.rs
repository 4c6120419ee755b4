//! **Beta-binomial** (Townsend, Bird & Barber 2019, section 3.2 and appendix): the byte k is the number of
//! heads in 255 throws of a coin whose bias is drawn from a Beta(α, β) distribution.
//!
//! ```text
//! p(k) = C(255, k)·B(k+α, 255−k+β) / B(α, β)                      B(α, β) = Γ(α)·Γ(β)/Γ(α+β)
//!
//! −ln p = R(α+β, 255) − R(α, k) − R(β, 255−k) − ln C(255, k)       R(x, n) = ln Γ(x+n) − ln Γ(x)
//!
//! ∂/∂ln α = α·[R′(α+β, 255) − R′(α, k)]                            ∂/∂ln β = β·[R′(α+β, 255) − R′(β, 255−k)]
//! ```
//!
//! The decoder gives ln α and ln β, clamped to [−9, 9], with derivative 0 outside. So α and β range from
//! 1.2·10⁻⁴ (all mass is at the ends) to 8103 (the coin's bias is certain, and the byte has the spread of the
//! binomial distribution). Two outputs of 0 mean α = β = 1: all bytes are equally probable, 8 bits. The mean
//! is 255·α/(α+β).
//!
//! Everything is computed in `f64` (see [`super::special`]), because R can be 2,000 nats when −ln p is 3.

use super::bytes::{ByteFamily, Rows, clamped, clamped_slope};
use super::family::MeanRule;
use super::single::LANES;
use super::special::{exp, ln_rising};
use crate::tensor::Element;
use std::sync::LazyLock;

/// The bounds of ln α and ln β.
const BOUNDS: (f64, f64) = (-9.0, 9.0);

#[derive(Clone, Copy)]
pub(super) struct BetaBinomial;

impl ByteFamily for BetaBinomial {
    fn name(&self) -> &'static str {
        "beta-binomial"
    }

    fn numbers(&self) -> usize {
        2
    }

    #[inline(always)]
    fn nats<T: Element>(&self, rows: &mut Rows<T>, bytes: &[T; LANES]) -> [T; LANES] {
        let [first, second] = rows else { unreachable!("two numbers") };
        let ln_choose = bytes.map(|byte| LN_CHOOSE[(byte.to_f64() as usize).min(255)]);
        let (mut a, mut b) = (first.map(T::to_f64), second.map(T::to_f64));
        let bytes = bytes.map(T::to_f64);
        let mut nats = [0.0; LANES];
        for lane in 0..LANES {
            (nats[lane], a[lane], b[lane]) = beta_binomial(a[lane], b[lane], bytes[lane], ln_choose[lane]);
        }
        *first = a.map(T::from_f64);
        *second = b.map(T::from_f64);
        nats.map(T::from_f64)
    }

    /// α/(α+β) = sigmoid(ln α − ln β).
    fn means<T: Element>(&self, rows: &Rows<T>) -> [T; LANES] {
        let bounds = (T::from_f64(BOUNDS.0), T::from_f64(BOUNDS.1));
        std::array::from_fn(|lane| {
            (clamped(rows[0][lane], bounds) - clamped(rows[1][lane], bounds)).sigmoid()
        })
    }

    /// m = sigmoid(ln α − ln β) has ∂m/∂ln α = m·(1 − m) = −∂m/∂ln β.
    fn mean_slopes<T: Element>(&self, rows: &mut Rows<T>) {
        let bounds = (T::from_f64(BOUNDS.0), T::from_f64(BOUNDS.1));
        let means = self.means(rows);
        for (lane, mean) in means.into_iter().enumerate() {
            let slope = mean * (T::ONE - mean);
            rows[0][lane] = clamped_slope(rows[0][lane], bounds, slope);
            rows[1][lane] = clamped_slope(rows[1][lane], bounds, -slope);
        }
    }

    fn output_meaning(&self) -> String {
        "ln(alpha) and ln(beta)".into()
    }

    fn mean_rule(&self) -> MeanRule {
        MeanRule { name: "beta", settings: vec![BOUNDS.0, BOUNDS.1] }
    }

    fn torch_mean(&self) -> String {
        let (low, high) = BOUNDS;
        let clamped = |k: usize| format!("output.chunk(2, dim=1)[{k}].clamp({low}, {high})");
        format!("torch.sigmoid({} - {})", clamped(0), clamped(1))
    }
}

/// −ln p(k), and its derivatives with respect to ln α and ln β.
#[inline(always)]
fn beta_binomial(ln_alpha: f64, ln_beta: f64, k: f64, ln_choose: f64) -> (f64, f64, f64) {
    let alpha = exp(clamped(ln_alpha, BOUNDS));
    let beta = exp(clamped(ln_beta, BOUNDS));
    let (both, d_both) = ln_rising(alpha + beta, 255.0);
    let (heads, d_heads) = ln_rising(alpha, k);
    let (tails, d_tails) = ln_rising(beta, 255.0 - k);
    (
        both - heads - tails - ln_choose,
        clamped_slope(ln_alpha, BOUNDS, alpha * (d_both - d_heads)),
        clamped_slope(ln_beta, BOUNDS, beta * (d_both - d_tails)),
    )
}

/// ln C(255, k).
static LN_CHOOSE: LazyLock<[f64; 256]> = LazyLock::new(|| {
    // C(255, k) = (k+1)·(k+2)·…·255 / (255−k)!
    std::array::from_fn(|k| {
        let rest = (255 - k) as f64;
        ln_rising(k as f64 + 1.0, rest).0 - ln_rising(1.0, rest).0
    })
});

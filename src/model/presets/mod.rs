//! The networks, one file each.
//!
//! ```text
//! conv      4×4 s2 convolutions C→widths · linear →hidden │ μ, ln σ² │ linear Z→hidden→ ·
//!                                                         │          │ 4×4 s2 transposed convolutions →C
//! mlp       linear H·W·C→hidden                           │ μ, ln σ² │ linear Z→hidden→H·W·C
//! article   (3×3 convolution, max pool 2)² C→64→128 ·     │ μ, ln σ² │ by μ's weights Z→512 · transposed
//!           linear →1024→512                              │          │ convolutions from 1×1: H/4×W/4
//!                                                         │          │ 512→128, 4×4 s2 →64, 4×4 s2 →C
//! residual  3×3 s2 convolutions with residual blocks      │ μ, ln σ² │ linear · residual blocks with
//!                                                         │          │ nearest-neighbour upsampling
//! ```
//!
//! A preset defines its default sizes, the configurations that it refuses, and its [`Plan`]: the layers, and
//! which weights are tied. The plan becomes an [`Architecture`](super::Architecture). The decoder's last
//! layer has the number of outputs and the activation that the likelihood needs: none for raw numbers, else
//! tanh in `article` and sigmoid in the others.

mod article;
mod conv;
mod mlp;
mod plan;
mod residual;

use super::config::{ModelConfig, Preset};
use crate::error::Result;
use crate::tensor::Element;

pub use plan::Plan;
use plan::Rules;

impl Preset {
    pub(super) fn rules(self) -> Rules {
        match self {
            Self::Conv => conv::RULES,
            Self::Article => article::RULES,
            Self::Mlp => mlp::RULES,
            Self::Residual => residual::RULES,
        }
    }

    pub(super) fn plan<T: Element>(self, config: &ModelConfig) -> Result<Plan<T>> {
        match self {
            Self::Conv => conv::plan(config),
            Self::Article => article::plan(config),
            Self::Mlp => mlp::plan(config),
            Self::Residual => residual::plan(config),
        }
    }
}

//! One file for each command: its arguments and what it does.

pub(crate) mod align;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod embed;
pub(crate) mod eval;
mod export;
pub(crate) mod feedback;
pub(crate) mod finetune;
pub(crate) mod generate;
pub(crate) mod lineage;
pub(crate) mod models;
pub(crate) mod pretrain;
pub(crate) mod run;
pub(crate) mod scope;
pub(crate) mod serve;
mod stage;
pub(crate) mod tokenizer;

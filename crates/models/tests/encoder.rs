//! The encoder's invariant: a text's result depends on that text alone.

use artifact::Seed;
use models::Rows;
use models::encoder::{Config, Encoder};
use tensor::{Device, Int, Precision, Tensor, TensorData};

fn config() -> Config {
    Config {
        model_type: "xlm-roberta".to_owned(),
        vocab_size: 97,
        hidden_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 80,
        max_position_embeddings: 130,
        type_vocab_size: 1,
        layer_norm_eps: 1e-5,
        pad_token_id: 1,
        hidden_act: "gelu".to_owned(),
        position_embedding_type: "absolute".to_owned(),
        is_decoder: false,
        initializer_range: 0.2,
    }
}

fn text(length: usize, seed: usize) -> Vec<i32> {
    (0..length)
        .map(|i| ((i * 31 + seed * 17 + i * i) % 97) as i32)
        .collect()
}

/// The hidden states of entries, each a list of texts behind one another, padded to `seq` rows.
fn hidden(encoder: &Encoder, entries: &[Vec<Vec<i32>>], seq: usize) -> Vec<Vec<u32>> {
    let lengths: Vec<Vec<usize>> = entries
        .iter()
        .map(|texts| texts.iter().map(Vec::len).collect())
        .collect();
    let mut tokens = Vec::new();
    for (entry, texts) in entries.iter().enumerate() {
        tokens.extend(texts.concat());
        tokens.resize((entry + 1) * seq, 1);
    }
    let on_device = |ids: Vec<i32>| -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(ids, [entries.len(), seq]), &Device::flex())
    };
    let types = on_device(vec![0; tokens.len()]);
    let states = encoder.forward(on_device(tokens), types, &Rows::texts(&lengths, seq));
    let states = tensor::to_vec(states);
    let width = encoder.config().hidden_size;
    let mut found = Vec::new();
    for (entry, lengths) in lengths.iter().enumerate() {
        let mut row = entry * seq;
        for length in lengths {
            let states = &states[row * width..(row + length) * width];
            found.push(states.iter().map(|x| x.to_bits()).collect());
            row += length;
        }
    }
    found
}

#[test]
fn a_text_alone_packed_or_padded_gives_the_same_bits() {
    for precision in [Precision::F32, Precision::Bf16] {
        let encoder = Encoder::init(&config(), precision, Seed(5), &Device::flex());
        let texts: Vec<_> = [5, 1, 40, 17, 128, 3, 64]
            .into_iter()
            .enumerate()
            .map(|(seed, length)| text(length, seed))
            .collect();
        let alone: Vec<_> = texts
            .iter()
            .flat_map(|text| hidden(&encoder, &[vec![text.clone()]], text.len()))
            .collect();
        let total = texts.iter().map(Vec::len).sum();
        assert_eq!(alone, hidden(&encoder, std::slice::from_ref(&texts), total));
        let padded: Vec<_> = texts.iter().map(|text| vec![text.clone()]).collect();
        assert_eq!(alone, hidden(&encoder, &padded, 131));
        let both = [texts[..4].to_vec(), texts[4..].to_vec()];
        assert_eq!(alone, hidden(&encoder, &both, 200));
    }
}

#[test]
fn tokens_behind_matter() {
    let encoder = Encoder::init(&config(), Precision::F32, Seed(5), &Device::flex());
    let one = hidden(&encoder, &[vec![vec![7, 8, 9]]], 3);
    let other = hidden(&encoder, &[vec![vec![7, 8, 10]]], 3);
    assert_ne!(one[0][0], other[0][0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let wrong = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        config.validate().map_err(|error| error.field)
    };
    assert_eq!(wrong(|_| {}), Ok(()));
    assert_eq!(wrong(|c| c.vocab_size = 0), Err("vocab_size"));
    assert_eq!(
        wrong(|c| c.num_attention_heads = 5),
        Err("num_attention_heads")
    );
    assert_eq!(
        wrong(|c| c.model_type = "llama".to_owned()),
        Err("model_type")
    );
    assert_eq!(
        wrong(|c| c.hidden_act = "swish".to_owned()),
        Err("hidden_act")
    );
    assert_eq!(
        wrong(|c| c.max_position_embeddings = 2),
        Err("max_position_embeddings")
    );
    assert_eq!(wrong(|c| c.is_decoder = true), Err("is_decoder"));
}

#[test]
fn parameters_are_counted() {
    let config = Config {
        model_type: "bert".to_owned(),
        vocab_size: 30_522,
        hidden_size: 768,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        intermediate_size: 3_072,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        pad_token_id: 0,
        ..config()
    };
    // BERT base without its pooler, as `transformers` counts it.
    assert_eq!(config.parameters(), 108_891_648);
    assert_eq!(config.context(), 512);
}
